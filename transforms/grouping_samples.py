"""Libraries cut out of a labelled one: some people with all their photos and all faces in these.

Settings that are right for one library must be right for all of them, small and large, with one photo
a person or thirty.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from transforms.clustering_scores import ClusteringScores, clustering_scores
from transforms.people import FaceSet

_FEWEST, _MOST = 10, 30


@dataclass(frozen=True)
class LabelledFaces:
    """Faces, and per photo who is shown: `people` int[p], and `face` int[p], the row of the labelled face
    among the faces, -1 for none. Other faces of a photo are strangers to the labels."""

    faces: FaceSet
    people: np.ndarray
    face: np.ndarray

    def of_photos(self, chosen: np.ndarray) -> LabelledFaces:
        """The library of the photos bool[p] alone; `faces.photo` numbers photos as `people` does."""
        rows = np.flatnonzero(chosen[self.faces.photo])
        place = np.full(len(self.faces.photo) + 1, -1)
        place[rows] = np.arange(len(rows))
        new_photo = np.cumsum(chosen) - 1
        faces = _combined(self.faces, lambda name: getattr(self.faces, name)[rows])
        faces = replace(faces, photo=new_photo[faces.photo])
        return LabelledFaces(faces, self.people[chosen], place[self.face[chosen]])

    def scores(self, group: np.ndarray, part: np.ndarray | None = None) -> ClusteringScores:
        """Scores of int[n] groups (-1 for alone) by the labelled faces, or those of bool[p] `part`."""
        labels = self.labels_of(group)
        part = np.ones(len(labels), bool) if part is None else part
        return clustering_scores(self.people[part], labels[part])

    def labels_of(self, group: np.ndarray) -> np.ndarray:
        """int[p]: the group of each labelled face; one of its own where it has none."""
        found = np.where(self.face >= 0, group[self.face], -1)
        return np.where(found < 0, int(group.max(initial=0)) + 1 + np.arange(len(found)), found)

    def among(self, others: FaceSet) -> LabelledFaces:
        """The same people hidden among the faces of others, in photos of their own."""
        others = replace(others, photo=others.photo + len(self.people))
        joined = _combined(
            self.faces, lambda name: np.concatenate([getattr(self.faces, name), getattr(others, name)])
        )
        return replace(self, faces=joined)

    def bcubed_among(self, group: np.ndarray) -> tuple[float, float, float]:
        """(F, precision, recall) of the labelled faces where faces of others in a group count as wrong.

        Faces of the labelled photos beside the labelled one count neither way.
        """
        labels = self.labels_of(group)
        labelled_photos = len(self.people)
        others = group[(self.faces.photo >= labelled_photos) & (group >= 0)]
        _, place, sizes = np.unique(labels, return_inverse=True, return_counts=True)
        count = int(max(labels.max(initial=0), others.max(initial=0))) + 1
        intruders = np.bincount(others, minlength=count)[labels]
        pair = self.people.astype(np.int64) * count + labels
        _, joint, joint_sizes = np.unique(pair, return_inverse=True, return_counts=True)
        _, person, person_sizes = np.unique(self.people, return_inverse=True, return_counts=True)
        own = joint_sizes[joint]
        precision = float((own / (sizes[place] + intruders)).mean())
        recall = float((own / person_sizes[person]).mean())
        return 2 * precision * recall / (precision + recall), precision, recall


def _combined(faces: FaceSet, column: Callable[[str], np.ndarray]) -> FaceSet:
    """Faces whose columns are what `column` makes of each name."""
    return FaceSet(
        vectors=column("vectors"),
        photo=column("photo"),
        size=column("size"),
        score=column("score"),
        yaw=column("yaw"),
        sharpness=column("sharpness"),
        bias=None if faces.bias is None else column("bias"),
    )


def of_share(names: np.ndarray, share: float, *, repeat: int = 0) -> np.ndarray:
    """bool[p]: the photos of a share of the people str[p], in an order that has nothing to do with names."""
    rank = {n: int(hashlib.sha256(n.encode()).hexdigest()[:12], 16) / 16**12 for n in set(names.tolist())}
    return (np.array([rank[n] for n in names]) + repeat * 0.31) % 1.0 < share


def with_many_photos(people: np.ndarray) -> np.ndarray:
    """bool[p]: photos of the people int[p] who have ten and more, thirty a person at most."""
    order = np.argsort(people, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(people[order]) > 0))
    sizes = np.diff(np.append(starts, len(order)))
    place = np.arange(len(order)) - np.repeat(starts, sizes)
    chosen = np.zeros(len(people), bool)
    chosen[order] = (np.repeat(sizes, sizes) >= _FEWEST) & (place < _MOST)
    return chosen
