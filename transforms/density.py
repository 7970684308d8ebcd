"""HDBSCAN (Campello et al. 2013) of a connected component: from a table of all distances, or along its
neighbour graph where that would be too large.

With groups of two and each face's nearest as its density, a large person's hierarchy sheds pair after
pair, and each pair ends the life of what it leaves: the most excess of mass then lies in small pieces
(530 photos of one man became 79 and fewer). What splits only nearer than `TOO_NEAR` below the threshold
stays one group therefore (Malzer & Baum 2020, a hybrid of HDBSCAN and DBSCAN).
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from transforms.neighbours import NeighbourGraph

# Chosen on LFW's learning half: BCubed F 0.946 without, 0.959 at 0.06, 0.962 at 0.10, 0.961 at 0.14; of its
# people with 10 to 30 photos 0.950, 0.959, 0.980, 0.986.
TOO_NEAR = 0.12
# Two faces are a person, and the nearest one says how dense it is around a face.
SMALLEST = {"min_cluster_size": 2, "min_samples": 1}
# Two stand-ins, unlike every face and like each other, join a component at similarity 0, where strangers
# are on average. To hdbscan the component as a whole would be the root otherwise, which is either never
# chosen or born at infinity and nearly always chosen.
_APART, _TOGETHER = 1.0, 0.01
# A distance of 0 would be no edge in a sparse table.
_LEAST = 1e-6


def dense_groups(distances: np.ndarray, threshold: float) -> np.ndarray:
    """int64[n]: the group of each face; who is noise is alone. `distances` float64[n, n]: 1 minus the
    similarity of all pairs. What no chain of pairs at the threshold joins is apart."""
    parts, part = connected_components(csr_matrix(distances <= 1 - threshold), directed=False)
    labels = np.arange(len(distances))
    for members in (
        np.flatnonzero(part == p) for p in np.flatnonzero(np.bincount(part, minlength=parts) > 1)
    ):
        count = len(members)
        table = np.full((count + 2, count + 2), _APART)
        table[:count, :count] = distances[np.ix_(members, members)]
        table[count:, count:] = _TOGETHER
        np.fill_diagonal(table, 0)
        labels[members] = members[_first(_fitted(table, count, threshold))]
    return labels


def dense_groups_along(graph: NeighbourGraph, threshold: float) -> np.ndarray:
    """The same of a graph that is connected at the threshold; pairs without an edge are as far apart as the
    paths between them say.

    The nearest neighbour's distance never exceeds that of another, so the hierarchy is single linkage's,
    and the minimum spanning tree holds all of it.
    """
    count = graph.faces
    left = np.append(graph.left, [0, count])
    right = np.append(graph.right, [count, count + 1])
    distance = np.append(np.maximum(1 - graph.similarity.astype(np.float64), _LEAST), [_APART, _TOGETHER])
    tree = minimum_spanning_tree(coo_matrix((distance, (left, right)), (count + 2, count + 2)).tocsr())
    return _fitted((tree + tree.T).tocsr(), count, threshold)


def _first(labels: np.ndarray) -> np.ndarray:
    """int64[n]: where the group of each stands first."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return first[inverse]


def _fitted(distances, count: int, threshold: float) -> np.ndarray:
    from hdbscan import HDBSCAN

    if count < 3:
        return np.zeros(count, np.int64)
    fitted = HDBSCAN(
        **SMALLEST, metric="precomputed", core_dist_n_jobs=1,
        cluster_selection_epsilon=float(max(1 - threshold - TOO_NEAR, 0.0)),
    ).fit(distances)  # fmt: skip
    labels = fitted.labels_[:count].astype(np.int64)
    noise = np.flatnonzero(labels < 0)
    labels[noise] = labels.max(initial=-1) + 1 + np.arange(len(noise))
    return labels
