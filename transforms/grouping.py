"""Faces to people: which faces show the same person, decided from their vectors.

Three methods, each with one threshold on cosine similarity that grows with the library:

default        communities of the neighbour graph by the map equation (Rosvall & Bergstrom 2008)
agglomerative  average linkage (the paper's section 5.4 clusters agglomeratively)
hdbscan        density-based, without a fixed level (Campello et al. 2013)

Connected components of the graph of all pairs above the threshold can be clustered one by one without
changing what average linkage finds, since two groups whose mean similarity reaches the threshold hold
a pair that does. That is how the two exact methods reach beyond small libraries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from transforms.neighbours import NeighbourGraph

DEFAULT, AGGLOMERATIVE, HDBSCAN = "default", "agglomerative", "hdbscan"
METHODS = (DEFAULT, HDBSCAN, AGGLOMERATIVE)

# A larger component's distances take gigabytes, several times over: the graph method takes it.
_EXACT_LIMIT = 10_000
# Edges at the threshold keep a little weight, so that a face with one of them still belongs.
_LEAST_WEIGHT = 0.02


def group_strong(
    vectors: np.ndarray, graph: NeighbourGraph, *, method: str, threshold: float, seed: int
) -> np.ndarray:
    """int64[n]: a group for every face; who is alone has one of their own.

    `vectors` float32[n, d] centred unit vectors; `graph` their neighbours at or above `threshold`.
    Groups are numbered by their first face, so equal partitions are equal arrays.
    Raises ValueError for an unknown method.
    """
    if method == DEFAULT:
        labels = map_equation_groups(graph, threshold=threshold, seed=seed)
    elif method in (AGGLOMERATIVE, HDBSCAN):
        exact = _average_linkage if method == AGGLOMERATIVE else _hdbscan
        labels = _by_component(vectors, graph, exact, threshold=threshold, seed=seed)
    else:
        raise ValueError(f"unknown method {method!r}: choose one of {', '.join(METHODS)}")
    return renumbered(labels)


def renumbered(labels: np.ndarray) -> np.ndarray:
    """The same groups, numbered in the order of their first members."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


def map_equation_groups(graph: NeighbourGraph, *, threshold: float, seed: int) -> np.ndarray:
    """Communities in which a random walk along similar faces would stay.

    An edge weighs what its similarity has above the threshold. One thread and a fixed seed: the
    same graph gives the same groups.
    """
    if not len(graph.left):
        return np.arange(graph.faces)
    import networkit

    networkit.setNumberOfThreads(1)
    networkit.setSeed(seed, False)
    weight = (np.maximum(graph.similarity - threshold, 0) + _LEAST_WEIGHT).astype(np.float64)
    ends = (graph.left.astype(np.uint64), graph.right.astype(np.uint64))
    built = networkit.GraphFromCoo((weight, ends), n=graph.faces, weighted=True)
    algorithm = networkit.community.LouvainMapEquation(built, True, 32, "none")
    algorithm.run()
    return np.array(algorithm.getPartition().getVector(), np.int64)


def components(graph: NeighbourGraph) -> np.ndarray:
    """int32[n]: the connected component of every face."""
    shape = (graph.faces, graph.faces)
    matrix = coo_matrix((np.ones(len(graph.left), np.int8), (graph.left, graph.right)), shape)
    return connected_components(matrix, directed=False)[1]


def _members(labels: np.ndarray) -> Iterator[np.ndarray]:
    """The members of every group of two and more."""
    order = np.argsort(labels, kind="stable")
    bounds = np.flatnonzero(np.diff(labels[order])) + 1
    yield from (part for part in np.split(order, bounds) if len(part) > 1)


def _by_component(
    vectors: np.ndarray, graph: NeighbourGraph, exact: Callable, *, threshold: float, seed: int
) -> np.ndarray:
    labels = np.arange(graph.faces, dtype=np.int64)
    next_label = graph.faces
    for members in _members(components(graph)):
        if len(members) > _EXACT_LIMIT:
            inside = np.zeros(graph.faces, bool)
            inside[members] = True
            part = graph.filter(inside[graph.left])
            found = map_equation_groups(part, threshold=threshold, seed=seed)[members]
        else:
            found = exact(vectors[members], threshold)
        labels[members] = next_label + found
        next_label += int(found.max()) + 1
    return labels


def _distances(vectors: np.ndarray) -> np.ndarray:
    distances = np.clip(1 - vectors.astype(np.float64) @ vectors.T.astype(np.float64), 0, 2)
    np.fill_diagonal(distances, 0)
    return distances


def _average_linkage(vectors: np.ndarray, threshold: float) -> np.ndarray:
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    tree = linkage(squareform(_distances(vectors), checks=False), method="average")
    return fcluster(tree, t=1 - threshold, criterion="distance").astype(np.int64) - 1


def _hdbscan(vectors: np.ndarray, threshold: float) -> np.ndarray:
    """Groups below the threshold's distance are not split further; noise is alone."""
    from hdbscan import HDBSCAN as Hdbscan

    if len(vectors) < 3:
        return np.zeros(len(vectors), np.int64)
    found = Hdbscan(
        min_cluster_size=2, min_samples=1, metric="precomputed", allow_single_cluster=True,
        cluster_selection_epsilon=1 - threshold, core_dist_n_jobs=1,
    ).fit(_distances(vectors))  # fmt: skip
    labels = found.labels_.astype(np.int64)
    noise = np.flatnonzero(labels < 0)
    labels[noise] = labels.max() + 1 + np.arange(len(noise))
    return labels
