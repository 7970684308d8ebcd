"""How well faces are found: finds matched with labelled boxes; recall, precision, average precision.

WIDER FACE's rules (Yang et al. 2016): a find counts from an intersection over union of one half; labels
that do not score are neither missed nor, when found, false finds; of a subset of labels, finds of other
labels count neither way while false finds all count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from transforms.average_precision import average_precision, precision_recall
from transforms.bootstrap import Interval, share_interval

LEAST_OVERLAP = 0.5


@dataclass(frozen=True)
class Truth:
    """Labelled boxes of one photo: float32[n, 4] (x0, y0, x1, y1), bool[n] which of them score, and further
    properties, int[n] each, by name."""

    boxes: np.ndarray
    scored: np.ndarray
    properties: Mapping[str, np.ndarray] = field(default_factory=dict)


def match(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """int[m]: for each found box, best first, the labelled box that it takes, -1 for none.

    A found box takes the free labelled box that it overlaps most, from an intersection over union
    of one half.
    """
    taken = np.zeros(len(truth), bool)
    result = np.full(len(found), -1)
    for i, box in enumerate(found):
        overlap = np.where(taken, -1.0, intersection_over_union(box, truth))
        if len(truth) and overlap.max() >= LEAST_OVERLAP:
            result[i] = int(overlap.argmax())
            taken[result[i]] = True
    return result


def intersection_over_union(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """float[n]: how much a box overlaps each of float[n, 4]."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    overlap = np.prod(np.maximum(high - low, 0), axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1) + np.prod(box[2:] - box[:2])
    return overlap / np.maximum(areas - overlap, 1e-9)


@dataclass(frozen=True)
class DetectionScores:
    """Of one subset of labels. `recall_interval` is over drawings of photos."""

    labelled: int
    recall: float
    recall_interval: Interval
    precision: float
    average_precision: float


@dataclass(frozen=True)
class PhotoFinds:
    """What was found in one photo: boxes float32[m, 4] and scores float32[m], best first, and which labelled
    box each takes, int[m], -1 for none."""

    truth: Truth
    boxes: np.ndarray
    scores: np.ndarray
    taken: np.ndarray

    @classmethod
    def of(cls, truth: Truth, boxes: np.ndarray, scores: np.ndarray) -> PhotoFinds:
        """Matches finds, best first, with labels."""
        return cls(truth, boxes, scores, match(boxes, truth.boxes))

    def missed(self) -> np.ndarray:
        """int[k]: scoring labels that were not found."""
        hit = np.zeros(len(self.truth.boxes), bool)
        hit[self.taken[self.taken >= 0]] = True
        return np.flatnonzero(self.truth.scored & ~hit)

    def false_finds(self, *, least_height: float) -> np.ndarray:
        """int[k]: finds of at least some height that take no label."""
        return np.flatnonzero((self.taken < 0) & (heights(self.boxes) >= least_height))


def heights(boxes: np.ndarray) -> np.ndarray:
    """float32[n] of float32[n, 4]."""
    return boxes[:, 3] - boxes[:, 1]


@dataclass(frozen=True)
class _Counted:
    """`hits` and `labelled` of each photo; `scores` float[n] of the finds that count and which are `true`."""

    hits: np.ndarray
    labelled: np.ndarray
    scores: np.ndarray
    true: np.ndarray

    @property
    def total(self) -> int:
        return int(self.labelled.sum())


def detection_scores(
    photos: Sequence[PhotoFinds],
    *,
    lowest: float,
    highest: float = np.inf,
    having: Mapping[str, int] | None = None,
) -> DetectionScores:
    """The scores of the labels from `lowest` to below `highest` pixels high that have the properties
    `having`; of false finds those of such a height count."""
    counted = _count(photos, lowest, highest, having or {})
    total = counted.total
    return DetectionScores(
        labelled=total,
        recall=float(counted.hits.sum()) / total if total else float("nan"),
        recall_interval=share_interval(counted.hits, counted.labelled),
        precision=float(counted.true.mean()) if len(counted.true) else float("nan"),
        average_precision=average_precision(counted.scores, counted.true, total),
    )


def precision_at(photos: Sequence[PhotoFinds], recall: float, *, lowest: float) -> float:
    """The precision where a least score is so chosen that `recall` of the labels from `lowest` pixels on is
    reached: two detectors that report down to scores of their own compare at one recall. nan where it is
    not reached."""
    counted = _count(photos, lowest, np.inf, {})
    precision, reached = precision_recall(counted.scores, counted.true, counted.total)
    return float(precision[reached >= recall].max(initial=-np.inf)) if (reached >= recall).any() else np.nan


def _count(
    photos: Sequence[PhotoFinds], lowest: float, highest: float, having: Mapping[str, int]
) -> _Counted:
    hits, labelled, scores, true = [], [], [np.zeros(0)], [np.zeros(0, bool)]
    for photo in photos:
        truth = photo.truth
        tall = heights(truth.boxes)
        wanted = truth.scored & (tall >= lowest) & (tall < highest)
        for name, value in having.items():
            wanted &= truth.properties[name] == value
        hit = (photo.taken >= 0) & np.append(wanted, False)[photo.taken]
        found = heights(photo.boxes)
        false = (photo.taken < 0) & (found >= lowest) & (found < highest)
        hits.append(hit.sum())
        labelled.append(wanted.sum())
        scores.append(photo.scores[hit | false])
        true.append(hit[hit | false])
    counts = np.array(hits, float), np.array(labelled, float)
    return _Counted(*counts, np.concatenate(scores), np.concatenate(true))
