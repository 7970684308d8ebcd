"""Pieces of one person are put together by what their faces are like on average.

A mean over several faces says who they show far more surely than one face does, so pieces that no
single pair of faces could join are joined here, and people of thousands of photos, whose neighbour
graph falls apart into years and bursts, become whole. The two pieces that are most alike come first, and
what they are together is compared anew: so siblings are not joined through somebody who is like both.
"""

from __future__ import annotations

import heapq

import numpy as np
from scipy.sparse import csr_matrix

from transforms.edge_files import edge_slices
from transforms.neighbours import NeighbourGraph

# Between 0, the mean similarity of the faces of two groups (average linkage), and 1, the cosine of their
# mean vectors. At 0 large groups must be as alike as single faces, and stay in pieces; at 1 the means of
# large groups of siblings are alike enough.
SHARPENING = 0.6
# Means of many faces are sure, and those of one person the more alike: so much more is asked of them for each
# tenfold of the smaller group. Siblings with thousands of photos each stay apart by that.
SURENESS = 0.02
# Two groups that are seen in the same photo this often, as a share of the smaller one's photos, are
# two people; a face that went astray now and then must not keep one person's pieces apart.
SEEN_TOGETHER = 0.02
_BLOCK = 65_536


def merged_by_means(
    vectors: np.ndarray,
    labels: np.ndarray,
    graph: NeighbourGraph,
    *,
    bias: np.ndarray,
    photo: np.ndarray,
    least: float,
) -> np.ndarray:
    """int64[g]: which of the groups int[n] `labels` (0 … g-1, -1 for faces that take no part) become one: the
    number of the first of those that do.

    Again and again the two groups most alike are put together, as `_Pieces.similarity` says, down to `least`;
    of those where faces of two groups are neighbours in the graph, and that are not often in one photo
    (int[n] `photo`). `bias` float32[n].
    """
    left, right, similarity, means = alike_groups(vectors, labels, graph, bias=bias, least=least)
    pieces = _Pieces(means, labels, photo, np.union1d(left, right))
    ends = zip((-similarity).tolist(), left.tolist(), right.tolist(), strict=True)
    # (minus the similarity, both groups, and when each had grown last).
    heap = [(less, a, b, (0, 0)) for less, a, b in ends]
    heapq.heapify(heap)
    while heap:
        _, a, b, before = heapq.heappop(heap)
        a, b = pieces.root(a), pieces.root(b)
        if a == b or pieces.seen_together(a, b):
            continue
        now = (pieces.grown[a], pieces.grown[b])
        if now != before:
            value = pieces.similarity(a, b)
            if value >= least:
                heapq.heappush(heap, (-value, a, b, now))
        else:
            pieces.join(min(a, b), max(a, b))
    return pieces.roots()


def alike_groups(
    vectors: np.ndarray, labels: np.ndarray, graph: NeighbourGraph, *, bias: np.ndarray, least: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, _Means]:
    """The pairs of groups, int32[m] twice, that are alike from `least` on, how much, float32[m], and their
    means; arguments as in `merged_by_means`."""
    means = _Means(vectors, labels, bias)
    left, right, similarity = _between(graph, labels, means.several, least)
    several = np.flatnonzero(means.several[left] | means.several[right])
    similarity[several] = means.similarity(left[several], right[several])
    alike = similarity >= least
    return left[alike], right[alike], similarity[alike], means


class _Pieces:
    """Groups that grow: their mean vectors, and in how many photos two of them are seen together."""

    def __init__(self, means: _Means, labels: np.ndarray, photo: np.ndarray, compared: np.ndarray) -> None:
        self._means, self._joined = means, 0
        self.grown = [0] * len(means.sizes)
        self._parent = np.arange(len(means.sizes))
        self._sums: dict[int, tuple[np.ndarray, float, int]] = {}
        self._photos, self._both = _photos_of(labels, photo, compared)

    def root(self, group: int) -> int:
        """The group that this one has become part of."""
        while (parent := int(self._parent[group])) != group:
            self._parent[group] = self._parent[parent]
            group = parent
        return group

    def roots(self) -> np.ndarray:
        """int64[g]: `root` of every group."""
        from transforms.component_groups import flatten  # on use: compiles

        flatten(self._parent)
        return self._parent

    def similarity(self, a: int, b: int) -> float:
        """As `_Means.similarity`, for groups that may have grown."""
        one, other = self._sum(a), self._sum(b)
        return float(sharpened(
            float(one[0] @ other[0]) / (one[2] * other[2]) - (one[1] / one[2] + other[1] / other[2]) / 2,
            float(np.linalg.norm(one[0]) * np.linalg.norm(other[0])) / (one[2] * other[2]),
            min(one[2], other[2]),
        ))  # fmt: skip

    def seen_together(self, a: int, b: int) -> bool:
        """Whether too many photos show both."""
        both = self._both.get(a, {}).get(b, 0)
        return both > SEEN_TOGETHER * min(self._photos[a], self._photos[b])

    def join(self, a: int, b: int) -> None:
        """Makes group `b` part of `a`."""
        one, other = self._sum(a), self._sum(b)
        self._sums[a] = (one[0] + other[0], one[1] + other[1], one[2] + other[2])
        self._sums.pop(b)
        self._parent[b] = a
        self._joined += 1
        self.grown[a] = self._joined
        self._photos[a] += self._photos[b]
        mine = self._both.setdefault(a, {})
        for group, photos in self._both.pop(b, {}).items():
            theirs = self._both[group]
            theirs.pop(b)
            if group != a:
                mine[group] = theirs[a] = mine.get(group, 0) + photos

    def _sum(self, group: int) -> tuple[np.ndarray, float, int]:
        """(float64[d] the sum of a group's vectors, of its biases, how many these are)."""
        if group not in self._sums:
            self._sums[group] = self._means.sums(group)
        return self._sums[group]


def sharpened(alike: float, lengths: float, faces: int) -> float:
    """How alike two groups are whose faces are `alike` on average, whose mean vectors' lengths multiply to
    `lengths`, and of which the smaller has so many `faces`; also for arrays of pairs.

    The mean similarity over the lengths to the power `SHARPENING` (a mean is shorter the less alike its faces
    are), less `SURENESS` times the decimal logarithm of the faces. For two faces it is their similarity.
    """
    return alike / lengths**SHARPENING - SURENESS * np.log10(faces)


def _between(
    graph: NeighbourGraph, labels: np.ndarray, several: np.ndarray, least: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pairs of groups that an edge joins, int32[m] twice and the similarity float32[m] of one of its
    edges; without those of single faces below `least`. `several` bool[g]: groups of more than one face."""
    pairs = [np.zeros(0, np.int64)]
    similarities = [np.zeros(0, np.float32)]
    for ends, others, similarity in edge_slices(graph):
        left, right = labels[ends], labels[others]
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
        self.sizes = sizes = np.bincount(labels[grouped])
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
        """float32[m]: how alike groups int[m] `left` and `right` are: their faces' mean similarity, less half
        of both mean biases, `sharpened`."""
        result = np.empty(len(left), np.float32)
        for start in range(0, len(left), _BLOCK):
            rows = slice(start, start + _BLOCK)
            a, b = left[rows], right[rows]
            product = np.einsum("ij,ij->i", self._rows(a), self._rows(b))
            product -= (self._bias[a] + self._bias[b]) / 2
            smaller = np.minimum(self.sizes[a], self.sizes[b])
            result[rows] = sharpened(product, self._length[a] * self._length[b], smaller)
        return result

    def sums(self, group: int) -> tuple[np.ndarray, float, int]:
        """(float64[d] the sum of a group's vectors, of its biases, how many these are)."""
        size = int(self.sizes[group])
        mean = self._rows(np.array([group]))[0].astype(np.float64)
        return mean * size, float(self._bias[group]) * size, size

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


def _photos_of(
    labels: np.ndarray, photo: np.ndarray, compared: np.ndarray
) -> tuple[list[int], dict[int, dict[int, int]]]:
    """(how many photos show each group; and how many show two, for each two of the groups int[c] `compared`
    that share any)."""
    grouped = labels >= 0
    place = np.unique(photo[grouped], return_inverse=True)[1]
    shape = (int(labels.max(initial=-1)) + 1, int(place.max(initial=-1)) + 1)
    shown = csr_matrix((np.ones(len(place), np.int32), (labels[grouped], place)), shape)
    shown.data[:] = 1  # a group may have two faces of a photo
    chosen = shown[compared]
    together = (chosen @ chosen.T).tocoo()
    both: dict[int, dict[int, int]] = {}
    ends = (compared[together.row].tolist(), compared[together.col].tolist())
    for a, b, photos in zip(*ends, together.data.tolist(), strict=True):
        if a != b:
            both.setdefault(a, {})[b] = photos
    return np.diff(shown.indptr).tolist(), both
