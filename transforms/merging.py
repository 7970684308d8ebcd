"""Pieces of one person are put together by what their faces are like on average.

A mean over several faces says who they show far more surely than one face does, so pieces that no
single pair of faces could join are joined here, and people of thousands of photos, whose neighbour
graph falls apart into years and bursts, become whole.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

from transforms.neighbours import NeighbourGraph

# Between 0, the mean similarity of the faces of two groups (average linkage), and 1, the cosine of their
# mean vectors. At 0 large groups must be as alike as single faces, and stay in pieces; at 1 the means of
# large groups of siblings are alike enough.
SHARPENING = 0.4
# Two groups that are seen in the same photo this often, as a share of the smaller one's photos, are
# two people; a face that went astray now and then must not keep one person's pieces apart.
SEEN_TOGETHER = 0.02
_BLOCK = 65_536
_EDGES = 8_000_000
_WORK = 10_000_000  # photos of pairs of groups that are compared at a time


def group_graph(
    vectors: np.ndarray,
    labels: np.ndarray,
    graph: NeighbourGraph,
    *,
    bias: np.ndarray,
    photo: np.ndarray,
    least: float,
) -> NeighbourGraph:
    """The graph of the groups int[n] `labels` (0 … g-1, -1 for faces that take no part): edges where faces
    of two groups are neighbours.

    Its similarity is the mean similarity between the faces of both, minus half of each one's mean
    `bias` float32[n], over the lengths of both mean vectors to the power `SHARPENING`; a mean is shorter
    the less alike its faces are. For two single faces it is their similarity. Edges below `least`, and
    between groups that are often in one photo (int[n] `photo`), are left out.
    """
    count = int(labels.max(initial=-1)) + 1
    means = _Means(vectors, labels, bias)
    left, right, similarity = _between(graph, labels, means.several, least)
    several = np.flatnonzero(means.several[left] | means.several[right])
    similarity[several] = means.similarity(left[several], right[several])
    alike = similarity >= least
    left, right, similarity = left[alike], right[alike], similarity[alike]
    apart = _seen_together(labels, photo, left, right)
    return NeighbourGraph(count, left[~apart], right[~apart], similarity[~apart])


def _between(
    graph: NeighbourGraph, labels: np.ndarray, several: np.ndarray, least: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pairs of groups that an edge joins, int32[m] twice and the similarity float32[m] of one of its
    edges; without those of single faces below `least`. `several` bool[g]: groups of more than one face."""
    pairs = [np.zeros(0, np.int64)]
    similarities = [np.zeros(0, np.float32)]
    for start in range(0, len(graph.left), _EDGES):
        piece = slice(start, start + _EDGES)
        left, right, similarity = (
            labels[graph.left[piece]],
            labels[graph.right[piece]],
            graph.similarity[piece],
        )
        wanted = (left != right) & (left >= 0) & (right >= 0)
        wanted &= several[left] | several[right] | (similarity >= least)
        left, right = left[wanted].astype(np.int64), right[wanted].astype(np.int64)
        key, edge = np.unique(
            np.minimum(left, right) * len(several) + np.maximum(left, right), return_index=True
        )
        pairs.append(key)
        similarities.append(similarity[wanted][edge])
    key, edge = np.unique(np.concatenate(pairs), return_index=True)
    count = max(len(several), 1)
    return (key // count).astype(np.int32), (key % count).astype(np.int32), np.concatenate(similarities)[edge]


class _Means:
    """The mean vectors of groups; most groups are one face, whose vector stays where it is."""

    def __init__(self, vectors: np.ndarray, labels: np.ndarray, bias: np.ndarray) -> None:
        grouped = np.flatnonzero(labels >= 0)
        sizes = np.bincount(labels[grouped])
        self.several = sizes > 1
        self._number = np.cumsum(self.several) - 1
        self._vectors, self._face = vectors, np.zeros(len(sizes), np.int64)
        self._face[labels[grouped]] = grouped
        inside = np.full(len(labels), -1)
        inside[grouped] = np.where(self.several, self._number, -1)[labels[grouped]]
        self._means = group_means(vectors, inside)
        total = np.bincount(labels[grouped], bias[grouped])
        self._bias = (total / np.maximum(sizes, 1)).astype(np.float32)
        self._length = np.ones(len(sizes), np.float32)
        self._length[self.several] = np.maximum(np.linalg.norm(self._means, axis=1), 1e-6)

    def similarity(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """float32[m]: of groups int[m] `left` and `right`, as `group_graph` says."""
        result = np.empty(len(left), np.float32)
        for start in range(0, len(left), _BLOCK):
            rows = slice(start, start + _BLOCK)
            a, b = left[rows], right[rows]
            product = np.einsum("ij,ij->i", self._rows(a), self._rows(b))
            product -= (self._bias[a] + self._bias[b]) / 2
            result[rows] = product / (self._length[a] * self._length[b]) ** SHARPENING
        return result

    def _rows(self, groups: np.ndarray) -> np.ndarray:
        result = np.empty((len(groups), self._vectors.shape[1]), np.float32)
        several = self.several[groups]
        result[several] = self._means[self._number[groups[several]]]
        result[~several] = self._vectors[self._face[groups[~several]]]
        return result


def group_means(vectors: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """float32[g, d]: the mean vector of each group 0 … g-1, not at unit length; -1 is no group.

    The dot product of two groups' means is the mean similarity between their faces.
    """
    count = int(labels.max(initial=-1)) + 1
    shape = (count, len(labels))
    grouped = np.flatnonzero(labels >= 0)
    members = csr_matrix((np.ones(len(grouped), np.float32), (labels[grouped], grouped)), shape)
    means = members @ vectors
    means /= np.maximum(np.bincount(labels[grouped], minlength=count), 1).astype(np.float32)[:, None]
    return means


def row_products(first: np.ndarray, left: np.ndarray, second: np.ndarray, right: np.ndarray) -> np.ndarray:
    """float32[m]: the dot products of rows int[m] `left` of `first` and rows int[m] `right` of `second`."""
    result = np.empty(len(left), np.float32)
    for start in range(0, len(left), _BLOCK):
        rows = slice(start, start + _BLOCK)
        result[rows] = np.einsum("ij,ij->i", first[left[rows]], second[right[rows]])
    return result


def _seen_together(labels: np.ndarray, photo: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """bool[m]: for which pairs of groups too many photos show both."""
    grouped = labels >= 0
    place = np.unique(photo[grouped], return_inverse=True)[1]
    shape = (int(labels.max(initial=-1)) + 1, int(place.max(initial=-1)) + 1)
    shown = csr_matrix((np.ones(len(place), np.int32), (labels[grouped], place)), shape)
    shown.data[:] = 1  # a group may have two faces of a photo
    photos = np.diff(shown.indptr)
    work = np.cumsum(photos[left] + photos[right], dtype=np.int64)
    both = np.zeros(len(left), np.int64)
    start = 0
    while start < len(left):
        done = work[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(work, done + _WORK, side="right")))
        rows = slice(start, stop)
        both[rows] = np.asarray(shown[left[rows]].multiply(shown[right[rows]]).sum(axis=1)).ravel()
        start = stop
    return both > SEEN_TOGETHER * np.minimum(photos[left], photos[right])
