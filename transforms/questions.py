"""What to ask the user: the questions whose answers would put most faces right.

Each question is whether two sides show one person, and its worth is how likely the answer is to change
something times how much it would change, counted as BCubed counts: joining parts of a and b faces of one
person, or parting them if they are two, puts 2ab/(a+b) faces' worth of neighbours right.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from transforms.enforcement import MEETING
from transforms.neighbours import nearest
from transforms.people import FaceSet

MERGE, SPLIT, MEMBER = "likely merge", "uncertain group", "likely wrong member"
_NEAREST = 6
_SHOWN = 8
_ROUNDS = 5
# Where two sides are one person as often as two, from the threshold on, and how far around that likeness
# leaves it in doubt: logistic regressions over the questions about LFW's learning half.
_DOUBT = {MERGE: (-0.031, 0.031), SPLIT: (-0.143, 0.091), MEMBER: (-0.162, 0.052)}


@dataclass(frozen=True)
class Question:
    """Do `first` and `second`, int64[m] rows of faces, the best of each side first, show one person?

    `groups` are the groups they are in, the same one twice unless it is about a merge; -1 for a face
    that is ungrouped. `likeness` is the mean cosine between the sides, minus biases and threshold; `worth`
    is in faces.
    """

    kind: str
    first: np.ndarray
    second: np.ndarray
    groups: tuple[int, int]
    likeness: float
    worth: float

    @property
    def key(self) -> tuple[int, int]:
        """The same for the same question asked again."""
        a, b = int(self.first[0]), int(self.second[0])
        return (min(a, b), max(a, b))


def questions(faces: FaceSet, group: np.ndarray, clear: np.ndarray, *, threshold: float) -> list[Question]:
    """All questions worth asking, the most useful first.

    `group` int64[n], -1 for ungrouped; `clear` bool[n]: only of clear faces it is asked whether an ungrouped
    one is someone. Nothing is asked of two who meet in photos.
    """
    order = np.argsort(group, kind="stable")
    count = int(group.max(initial=-1)) + 1
    bounds = np.searchsorted(group[order], np.arange(count + 1))
    members = [order[a:b] for a, b in pairwise(bounds)]
    loose = np.flatnonzero((group < 0) & clear)
    found = [*_merges(faces, members, loose, threshold), *_inside(faces, members, threshold)]
    return sorted(found, key=lambda q: (-q.worth, q.key))


def _chance(kind: str, likeness: float) -> float:
    """How likely both sides are one person."""
    middle, scale = _DOUBT[kind]
    return float(1 / (1 + np.exp(-np.clip((likeness - middle) / scale, -50, 50))))


def _gain(a: int, b: int) -> float:
    return 2 * a * b / (a + b)


def _central(vectors: np.ndarray, rows: np.ndarray) -> np.ndarray:
    nearness = vectors[rows] @ vectors[rows].mean(axis=0)
    return rows[np.argsort(-nearness, kind="stable")][:_SHOWN]


def _merges(
    faces: FaceSet, members: list[np.ndarray], loose: np.ndarray, threshold: float
) -> Iterator[Question]:
    """People who are alike on average, and ungrouped faces with whom they are most like."""
    vectors, photo, bias = faces.vectors, faces.photo, faces.biases()
    sides = [*members, *(np.array([face]) for face in loose)]
    if len(sides) < 2:
        return
    means = np.stack([vectors[rows].mean(axis=0) for rows in sides])
    lengths = np.linalg.norm(means, axis=1)
    units = (means / np.maximum(lengths, 1e-12)[:, None]).astype(np.float32)
    index, _ = nearest(units, units, _NEAREST)
    pairs = {(min(i, int(j)), max(i, int(j))) for i, near in enumerate(index) for j in near if int(j) != i}
    for i, j in sorted(pairs):
        meeting = len(np.intersect1d(photo[sides[i]], photo[sides[j]]))
        if meeting > MEETING * min(len(sides[i]), len(sides[j])):
            continue
        likeness = float(means[i] @ means[j]) - _bias(bias, sides[i], sides[j]) - threshold
        worth = _chance(MERGE, likeness) * _gain(len(sides[i]), len(sides[j]))
        groups = (i if i < len(members) else -1, j if j < len(members) else -1)
        yield Question(
            MERGE, _central(vectors, sides[i]), _central(vectors, sides[j]), groups, likeness, worth
        )


def _bias(bias: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    """What is taken from the mean cosine of two sets of faces, as grouping does with two faces."""
    return float(bias[first].mean() + bias[second].mean()) / 2


def _inside(faces: FaceSet, members: list[np.ndarray], threshold: float) -> Iterator[Question]:
    """Groups that fall into two parts, and faces that are little like the rest of theirs."""
    vectors, bias = faces.vectors, faces.biases()
    for number, rows in enumerate(members):
        if len(rows) < 2:
            continue
        part = _halves(vectors[rows])
        sides = rows[part], rows[~part]
        if not len(sides[0]) or not len(sides[1]):
            continue
        likeness = float(vectors[sides[0]].mean(axis=0) @ vectors[sides[1]].mean(axis=0))
        likeness -= _bias(bias, *sides) + threshold
        first, second = (_central(vectors, s) for s in sides)
        smaller = min(len(sides[0]), len(sides[1]))
        kind = MEMBER if smaller == 1 and len(rows) > 2 else SPLIT
        worth = (1 - _chance(kind, likeness)) * _gain(len(sides[0]), len(sides[1]))
        if len(first) > len(second):
            first, second = second, first
        yield Question(kind, first, second, (number, number), likeness, worth)
        if smaller > 1:
            yield _least_fitting(faces, rows, number, threshold)


def _least_fitting(faces: FaceSet, rows: np.ndarray, number: int, threshold: float) -> Question:
    vectors, bias = faces.vectors, faces.biases()
    total = vectors[rows].sum(axis=0)
    fit = (vectors[rows] @ total - 1) / (len(rows) - 1) - (bias[rows] + bias[rows].mean()) / 2
    worst = int(fit.argmin())
    rest = np.delete(rows, worst)
    likeness = float(fit[worst]) - threshold
    worth = (1 - _chance(MEMBER, likeness)) * _gain(1, len(rest))
    return Question(MEMBER, rows[[worst]], _central(vectors, rest), (number, number), likeness, worth)


def _halves(vectors: np.ndarray) -> np.ndarray:
    """bool[n]: the smaller of two parts of a group, by 2-means from the face farthest from the mean."""
    seed = int((vectors @ vectors.mean(axis=0)).argmin())
    part = vectors @ vectors[seed] > vectors @ vectors.mean(axis=0)
    part[seed] = True
    for _ in range(_ROUNDS):
        if part.all() or not part.any():
            break
        following = vectors @ vectors[part].mean(axis=0) > vectors @ vectors[~part].mean(axis=0)
        if (following == part).all() or following.all() or not following.any():
            break
        part = following
    return part if 2 * part.sum() <= len(part) else ~part
