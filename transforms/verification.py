"""Same person or not: VAL and FAR over all pairs, and accuracy over given pairs.

Definitions of Schroff et al. 2015, section 4.1: of all pairs of faces of one person, VAL(d) is the
share at squared L2 distance of at most d; of all pairs of faces of two people, FAR(d) is that share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_BLOCK = 2048


def centred(embeddings: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """float32[n, d] unit vectors minus `centre`, float32[d], at unit length again."""
    moved = embeddings - centre
    return moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-12)


def pair_distances(embeddings: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Squared L2 distances of all pairs of unit vectors, float32: of one person's, and of two people's.

    `labels` int[n]. Memory: 4 bytes a pair, so some 20,000 faces take 800 MB.
    """
    same, different = [], []
    for start in range(0, len(embeddings), _BLOCK):
        rows = slice(start, min(start + _BLOCK, len(embeddings)))
        distances = 2 - 2 * (embeddings[rows] @ embeddings[start:].T)
        upper = np.arange(start, len(embeddings))[None, :] > np.arange(rows.start, rows.stop)[:, None]
        equal = labels[rows, None] == labels[None, start:]
        same.append(distances[upper & equal])
        different.append(distances[upper & ~equal])
    return np.concatenate(same), np.concatenate(different)


def val_at_far(same: np.ndarray, different: np.ndarray, far: float) -> tuple[float, float]:
    """(VAL, distance) at the largest distance whose FAR is at most `far`.

    With n pairs of different people, floor(far·n) of them may lie at or below the distance; ties
    at the border count as below it, so the FAR is never exceeded. Raises ValueError without pairs.
    """
    if not len(same) or not len(different):
        raise ValueError("VAL at a FAR needs pairs of one person and pairs of two people")
    allowed = allowed_pairs(far, len(different))
    if allowed >= len(different):
        return 1.0, float("inf")
    border = np.partition(different, allowed)[allowed]  # the first distance that must stay outside
    accepted = same[same < border]
    return len(accepted) / len(same), float(np.nextafter(border, np.float32(-np.inf)))


def allowed_pairs(far: float, different: int) -> int:
    """How many of so many pairs of two people may be accepted at a FAR."""
    return int(np.floor(far * different * (1 + 1e-12)))  # 0.29 · 100 is 28.999…


@dataclass(frozen=True)
class FoldAccuracy:
    """Accuracy over folds: mean, standard error, the mean of the thresholds used, and bool[n]: which pairs
    were called the same, each by the threshold of the folds that it is not in."""

    mean: float
    standard_error: float
    threshold: float
    judged_same: np.ndarray


def fold_accuracy(distances: np.ndarray, same: np.ndarray, folds: np.ndarray) -> FoldAccuracy:
    """Accuracy on each fold at the threshold that is best on all other folds (LFW's protocol).

    `distances` float[n], `same` bool[n], `folds` int[n]. Raises ValueError for less than two folds.
    """
    if len(np.unique(folds)) < 2:
        raise ValueError("there is one fold only: no threshold can be learnt on others")
    accuracies, thresholds, judged = [], [], np.zeros(len(distances), bool)
    for fold in np.unique(folds):
        held_out = folds == fold
        threshold = best_threshold(distances[~held_out], same[~held_out])
        thresholds.append(threshold)
        judged[held_out] = distances[held_out] <= threshold
        accuracies.append(np.mean(judged[held_out] == same[held_out]))
    return FoldAccuracy(
        float(np.mean(accuracies)), _standard_error(accuracies), float(np.mean(thresholds)), judged
    )


@dataclass(frozen=True)
class FoldVal:
    """VAL and the FAR that came with it, means over folds, and VAL's standard error."""

    val: float
    standard_error: float
    far: float


def fold_val(distances: np.ndarray, same: np.ndarray, folds: np.ndarray, *, far: float) -> FoldVal:
    """VAL and FAR on each fold at the largest distance whose FAR on all other folds is at most `far`.

    Arguments as for `fold_accuracy`.
    """
    vals, fars = [], []
    for fold in np.unique(folds):
        held_out = folds == fold
        _, distance = val_at_far(distances[~held_out & same], distances[~held_out & ~same], far)
        vals.append(np.mean(distances[held_out & same] <= distance))
        fars.append(np.mean(distances[held_out & ~same] <= distance))
    return FoldVal(float(np.mean(vals)), _standard_error(vals), float(np.mean(fars)))


def _standard_error(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


def best_threshold(distances: np.ndarray, same: np.ndarray) -> float:
    """The distance at which calling pairs up to it the same is right most often.

    The middle between two neighbouring distances, of the first best gap.
    """
    order = np.argsort(distances, kind="stable")
    sorted_distances, sorted_same = distances[order], same[order]
    # right[i]: pairs judged rightly when the first i pairs are called the same
    right = np.concatenate([[0], np.cumsum(sorted_same)]) + np.concatenate(
        [np.cumsum((~sorted_same)[::-1])[::-1], [0]]
    )
    # A cut between equal distances is no cut.
    cut = np.concatenate([[True], sorted_distances[1:] > sorted_distances[:-1], [True]])
    best = int(np.argmax(np.where(cut, right, -1)))
    if best == 0:
        return float(np.nextafter(sorted_distances[0], -np.inf))
    if best == len(sorted_distances):
        return float(sorted_distances[-1])
    return float((sorted_distances[best - 1] + sorted_distances[best]) / 2)


def limit_per_person(labels: np.ndarray, most: int) -> np.ndarray:
    """bool[n]: faces of people with at most `most` faces."""
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return counts[inverse] <= most


def different_pairs(labels: np.ndarray) -> int:
    """How many pairs of two people there are among the faces of `labels` int[n]."""
    _, counts = np.unique(labels, return_counts=True)
    return int((counts.sum() ** 2 - (counts**2).sum()) // 2)


def has_pairs(labels: np.ndarray) -> bool:
    """Whether there are pairs of one person, and pairs of two people."""
    _, counts = np.unique(labels, return_counts=True)
    return len(counts) > 1 and int(counts.max()) > 1


def read_pairs(lines: Sequence[str]) -> list[tuple[int, str, int, str, int]]:
    """LFW's pairs file: (fold, name, number, name, number) of every pair, folds from 0.

    The first line holds the number of folds and of pairs of each kind in a fold; a line of three
    is a pair of one person, of four of two people. Raises ValueError with the line's number, and for less
    than two folds.
    """
    try:
        folds, per_kind = (int(x) for x in (lines[0] if lines else "").split())
    except ValueError as error:
        raise ValueError("line 1 of the pairs file: expected the numbers of folds and of pairs") from error
    if folds < 2 or per_kind < 1:
        raise ValueError(
            f"line 1 of the pairs file: {folds} folds of {per_kind} pairs of each kind; expected two folds "
            "at least, since each is judged by the threshold of the others"
        )
    pairs: list[tuple[int, str, int, str, int]] = []
    for number, line in enumerate(lines[1:], start=2):
        parts = line.split()
        if not parts:
            continue
        if len(parts) not in (3, 4) or not all(p.isdecimal() for p in (parts[1], parts[-1])):
            raise ValueError(
                f"line {number} of the pairs file is {line.strip()!r}: expected name number number "
                "or name number name number"
            )
        fold = len(pairs) // (2 * per_kind)
        pairs.append(
            (fold, parts[0], int(parts[1]), parts[-2] if len(parts) == 4 else parts[0], int(parts[-1]))
        )
    if len(pairs) != folds * per_kind * 2:
        raise ValueError(f"the pairs file holds {len(pairs)} pairs: expected {folds} × {2 * per_kind}")
    same = sum(pair[1] == pair[3] for pair in pairs)
    if same != folds * per_kind:
        raise ValueError(f"the pairs file holds {same} pairs of one person: expected {folds} × {per_kind}")
    return pairs
