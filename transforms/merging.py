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
_SHARPENING = 0.75
# Two groups that are seen in the same photo this often, as a share of the smaller one's photos, are
# two people; a face that went astray now and then must not keep one person's pieces apart.
_SEEN_TOGETHER = 0.02
_BLOCK = 65_536
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
    `bias` float32[n], over the lengths of both mean vectors to the power `_SHARPENING`; a mean is shorter
    the less alike its faces are. For two single faces it is their similarity. Edges below `least`, and
    between groups that are often in one photo (int[n] `photo`), are left out.
    """
    count = int(labels.max(initial=-1)) + 1
    left, right = labels[graph.left].astype(np.int64), labels[graph.right].astype(np.int64)
    across = (left != right) & (left >= 0) & (right >= 0)
    left, right = left[across], right[across]
    pairs = np.unique(np.minimum(left, right) * count + np.maximum(left, right))
    left, right = (pairs // count).astype(np.int32), (pairs % count).astype(np.int32)
    means = group_means(vectors, labels)
    length = np.maximum(np.linalg.norm(means, axis=1), 1e-6)
    taking_part = labels >= 0
    sizes = np.bincount(labels[taking_part], minlength=count)
    mean_bias = np.bincount(labels[taking_part], bias[taking_part], minlength=count) / np.maximum(sizes, 1)
    similarity = row_products(means, left, means, right) - (mean_bias[left] + mean_bias[right]) / 2
    similarity = (similarity / (length[left] * length[right]) ** _SHARPENING).astype(np.float32)
    alike = similarity >= least
    left, right, similarity = left[alike], right[alike], similarity[alike]
    apart = _seen_together(labels, photo, left, right)
    return NeighbourGraph(count, left[~apart], right[~apart], similarity[~apart])


def group_means(vectors: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """float32[g, d]: the mean vector of each group 0 … g-1, not at unit length; -1 is no group.

    The dot product of two groups' means is the mean similarity between their faces.
    """
    count = int(labels.max(initial=-1)) + 1
    shape = (count, len(labels))
    grouped = np.flatnonzero(labels >= 0)
    members = csr_matrix((np.ones(len(grouped), np.float32), (labels[grouped], grouped)), shape)
    sizes = np.bincount(labels[grouped], minlength=count)[:, None]
    return ((members @ vectors) / np.maximum(sizes, 1)).astype(np.float32)


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
    return both > _SEEN_TOGETHER * np.minimum(photos[left], photos[right])
