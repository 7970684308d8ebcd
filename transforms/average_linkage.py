"""Average linkage of a connected component: from a table of all distances, or along its neighbour graph
where that would be too large.

The mean similarity between the faces of two groups is the dot product of their mean vectors, so groups
need no table of pairs; the graph only says which groups are worth comparing. Since two groups whose mean
similarity reaches the threshold hold a pair of faces that does, nothing is missed where the graph holds
all such pairs, and hardly anything where it holds each face's nearest.
"""

from __future__ import annotations

import heapq

import numba
import numpy as np
from scipy.sparse import coo_matrix

from transforms.component_groups import flatten, root_of
from transforms.neighbours import NeighbourGraph


def linked_groups(distances: np.ndarray, threshold: float) -> np.ndarray:
    """int64[n]: a group for every face. `distances` float64[n, n]: 1 minus the similarity of all pairs."""
    from sklearn.cluster import AgglomerativeClustering

    if len(distances) < 2:
        return np.zeros(len(distances), np.int64)
    # Groups are joined below the given distance: at the threshold itself, as elsewhere, they are alike. A
    # threshold beyond 1 joins nobody.
    found = AgglomerativeClustering(
        None, metric="precomputed", linkage="average",
        distance_threshold=max(float(np.nextafter(1 - threshold, 2)), 0.0), compute_full_tree=True,
    ).fit(distances)  # fmt: skip
    return found.labels_.astype(np.int64)


def linked_groups_along(
    graph: NeighbourGraph, threshold: float, *, vectors: np.ndarray, bias: np.ndarray
) -> np.ndarray:
    """int64[n]: the first face of each face's group, when again and again the two groups are joined whose
    faces are most alike on average, down to `threshold`.

    `vectors` float32[n, d], `bias` float32[n]; the similarity of two faces is their dot product minus half
    of both biases. Only groups with an edge of `graph` between them are joined. Memory: the sums of the
    groups, as much as `vectors`, and both directions of the edges.
    """
    shape = (graph.faces, graph.faces)
    ends = (np.append(graph.left, graph.right), np.append(graph.right, graph.left))
    table = coo_matrix((np.ones(len(ends[0]), np.int8), ends), shape).tocsr()
    return _link(
        vectors.astype(np.float32), bias.astype(np.float64), table.indptr.astype(np.int64),
        table.indices.astype(np.int32), float(threshold),
    )  # fmt: skip


@numba.njit(cache=True)
def _link(sums, biases, starts, others, threshold):
    """`sums` and `biases` are of each group, kept at its first face; a group's neighbours are the entries
    of `others` from `starts` to `ends` of each face on its `chain`, and become fewer as groups join."""
    faces = len(sums)
    root, last = np.arange(faces), np.arange(faces)
    chain, sizes = np.full(faces, -1), np.ones(faces)
    ends, seen = starts[1:].copy(), np.full(faces, -1)
    # (minus the similarity, the group, its partner, and the sizes of both then): the best partner of each
    # group. Averages never rise by joining, so a stale entry is never too low: it waits its turn.
    heap = [(0.0, 0, 0, 0.0, 0.0) for _ in range(0)]
    visit = 0
    for face in range(faces):
        partner, value = _partner(
            face, visit, root, last, chain, sums, biases, sizes, starts, ends, others, seen
        )
        visit += 1
        if partner >= 0 and value >= threshold:
            heap.append((-value, face, partner, 1.0, 1.0))
    heapq.heapify(heap)
    while len(heap):
        _, group, partner, size, partner_size = heapq.heappop(heap)
        if root[group] != group or sizes[group] != size:
            continue
        if root[partner] == partner and sizes[partner] == partner_size:
            if partner < group:
                group, partner = partner, group
            root[partner] = group
            sums[group] += sums[partner]
            biases[group] += biases[partner]
            sizes[group] += sizes[partner]
            chain[last[group]] = partner
            last[group] = last[partner]
        partner, value = _partner(
            group, visit, root, last, chain, sums, biases, sizes, starts, ends, others, seen
        )
        visit += 1
        if partner >= 0 and value >= threshold:
            heapq.heappush(heap, (-value, group, partner, sizes[group], sizes[partner]))
    flatten(root)
    return root


@numba.njit(cache=True, fastmath=True)  # sums in any order, so that they become vector code
def _product(sums, first, second):
    total = np.float32(0)
    for place in range(sums.shape[1]):
        total += sums[first, place] * sums[second, place]
    return total


@numba.njit(cache=True)
def _partner(group, visit, root, last, chain, sums, biases, sizes, starts, ends, others, seen):
    """The group most like this one among its neighbours, and how alike they are; -1 for none. On the way
    each neighbour is left once on the chain, and faces without any are taken off it."""
    best, most = -1, -np.inf
    before, face = group, group
    while face >= 0:
        kept = starts[face]
        for place in range(starts[face], ends[face]):
            other = root_of(root, others[place])
            if other == group or seen[other] == visit:
                continue
            seen[other] = visit
            others[kept] = other
            kept += 1
            value = _product(sums, group, other) / (sizes[group] * sizes[other])
            value -= (biases[group] / sizes[group] + biases[other] / sizes[other]) / 2
            if value > most or (value == most and other < best):
                best, most = other, value
        ends[face] = kept
        following = chain[face]
        if face != group and kept == starts[face]:
            chain[before] = following
            if following < 0:
                last[group] = before
        else:
            before = face
        face = following
    return best, most
