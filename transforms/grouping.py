"""Faces to people: which faces show the same person, decided from their vectors.

Five methods; all but k-means have one threshold on similarity that grows with the library:

default          communities of the neighbour graph by the map equation (Rosvall & Bergstrom 2008), then
                 pieces of one person put together by their means (`merging`)
agglomerative    average linkage (the paper's section 5.4 clusters agglomeratively)
hdbscan          density-based, of no fixed level (Campello et al. 2013; Malzer & Baum 2020)
chinese-whispers label propagation on the neighbour graph (Biemann 2006; Raghavan et al. 2007)
kmeans           the paper's other example; the number of people must be known

Small libraries are grouped by the two hierarchical methods from all their distances. In larger ones the
connected components of the neighbour graph are grouped one by one: two groups whose mean similarity
reaches the threshold hold a pair that does. A component that is itself too large for a table of its
distances goes along its edges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components

from transforms.edge_files import Edges, chosen_edges, edge_slices
from transforms.fresh_threads import in_fresh_threads
from transforms.merging import merged_by_means
from transforms.neighbours import NeighbourGraph, graph_within, simple

DEFAULT, AGGLOMERATIVE, HDBSCAN = "default", "agglomerative", "hdbscan"
CHINESE_WHISPERS, KMEANS = "chinese-whispers", "kmeans"
METHODS = (DEFAULT, HDBSCAN, AGGLOMERATIVE, CHINESE_WHISPERS, KMEANS)
# Those whose groups depend on a threshold of their own; the others attach faces at the default's.
THRESHOLD_METHODS = (DEFAULT, HDBSCAN, AGGLOMERATIVE, CHINESE_WHISPERS)

# The default method's first communities keep this much above the threshold, and pieces are put together from
# this much below it on: docs/grouping.md says how they were chosen.
FINER, COARSER = 0.01, -0.05
# Groups are compared where two of their faces are at most this much less alike than the threshold asks.
REACH = 0.06
# Faces that were alone are compared again with who has been put together: with them they may be alike enough.
ROUNDS = 2
# The distances of more faces would take gigabytes, several times over.
EXACT_LIMIT = 5_000
# Larger libraries are given to k-means in batches.
KMEANS_LIMIT = 20_000
# Faces change between communities in so many passes at most. Later ones move few and take as long: with 32
# LFW has the same people.
PASSES = 8
# Edges at the threshold keep a little weight, so that a face with one of them still belongs.
LEAST_WEIGHT = 0.02


@dataclass(frozen=True)
class Grouped:
    """`labels` int64[n]: a group for every face, numbered by their first faces; `ran` says how."""

    labels: np.ndarray
    ran: str


@dataclass(frozen=True)
class StrongFaces:
    """The faces that decide who there is, by row among all faces: `vectors` float32[n, d] centred unit
    vectors, `bias` float32[n] (see `models.calibration.Cohort`), `photo` int[n], and the `graph` of the
    neighbours of those that are `clear` int64[m], whose similarity is the cosine minus half of both biases
    and reaches `REACH` below the threshold; `burst` int[n] is the first of the near-identical faces to which
    each belongs (`bursts.bursts_of`)."""

    vectors: np.ndarray
    bias: np.ndarray
    photo: np.ndarray
    graph: NeighbourGraph
    clear: np.ndarray
    burst: np.ndarray


def group_strong(
    faces: StrongFaces, *, method: str, threshold: float, seed: int, people: int | None = None,
    merge: bool = True, threads: int = 1, folder: str | None = None,
) -> Grouped:  # fmt: skip
    """A group for every face; who is alone has one of their own.

    Equal partitions are equal arrays. `people` is the number of groups for k-means. Without `merge` the
    default method ends with the communities at the threshold. In a local `folder` the default method keeps
    what it makes of the edges.
    Raises ValueError for an unknown method, or k-means without `people`.
    """

    def deciding() -> NeighbourGraph:
        return faces.graph.filter(faces.graph.similarity >= threshold)

    edges = f"{np.count_nonzero(faces.graph.similarity >= threshold):,} edges"
    if method == DEFAULT and merge:
        labels = _default_groups(faces, threshold=threshold, seed=seed, threads=threads, folder=folder)
        ran = f"map equation on the graph of {edges}, merged by means"
    elif method == DEFAULT:
        bursts = _between_bursts(faces.graph, faces.burst, threshold)
        labels = map_equation_groups(bursts, threshold=threshold, seed=seed)[faces.burst]
        ran = f"map equation on the graph of {edges}"
    elif method == CHINESE_WHISPERS:
        bursts = _between_bursts(faces.graph, faces.burst, threshold)
        labels = whispered_groups(bursts, threshold=threshold, seed=seed)[faces.burst]
        ran = f"label propagation on the graph of {edges}"
    elif method == KMEANS:
        found, ran = _kmeans_groups(faces.vectors[faces.clear], people, seed=seed)
        labels = int(found.max(initial=-1)) + 1 + np.arange(len(faces.vectors))
        labels[faces.clear] = found
    elif method in (AGGLOMERATIVE, HDBSCAN):
        labels, ran = _by_component(faces, deciding(), method, threshold=threshold)
    else:
        raise ValueError(f"unknown method {method!r}: choose one of {', '.join(METHODS)}")
    return Grouped(renumbered(labels), ran)


def renumbered(labels: np.ndarray) -> np.ndarray:
    """The same groups, numbered in the order of their first members."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


def _default_groups(
    faces: StrongFaces, *, threshold: float, seed: int, threads: int, folder: str | None
) -> np.ndarray:
    labels = fine_groups(
        faces.graph, faces.burst, threshold=threshold, seed=seed, threads=threads, folder=folder
    )
    least = threshold - REACH
    # Hardly ever is there anything to leave out; a copy of so many edges is worth avoiding.
    near = all((similarity >= least).all() for _, _, similarity in edge_slices(faces.graph))
    part = faces if near else replace(faces, graph=faces.graph.filter(faces.graph.similarity >= least))
    return merged_groups(part, labels, threshold=threshold)


def fine_groups(
    graph: NeighbourGraph, burst: np.ndarray, *, threshold: float, seed: int, threads: int = 1,
    folder: str | None = None,
) -> np.ndarray:  # fmt: skip
    """int64[n]: communities somewhat above the threshold, by the map equation, each `burst` int[n] being one
    face; numbered by first faces. In a local `folder` the edges are written, not held in memory."""
    from transforms.component_groups import group_by_component  # on use: compiles

    level = threshold + FINER
    between = _between_bursts(graph, burst, level, folder)
    if not len(between.left):
        return renumbered(burst)
    _begin_random_numbers(seed)
    found = group_by_component(
        between, partial(_communities, threshold=level), threads=threads, folder=folder
    )
    return renumbered(found[burst])


def _between_bursts(
    graph: NeighbourGraph, burst: np.ndarray, level: float, folder: str | None = None
) -> NeighbourGraph:
    """The edges from `level` on, between the first faces of each `burst` int[n]; there may be several between
    two."""

    def choose(left: np.ndarray, right: np.ndarray, similarity: np.ndarray) -> Edges:
        left, right = burst[left], burst[right]
        wanted = (left != right) & (similarity >= level)
        return left[wanted], right[wanted], similarity[wanted]

    return chosen_edges(graph, choose, folder=folder)


def merged_groups(faces: StrongFaces, labels: np.ndarray, *, threshold: float) -> np.ndarray:
    """int64[n]: groups that are alike on average are one; `labels` are numbered 0 … g-1, or -1 for faces
    that take no part.

    Groups are compared where faces of both are neighbours in the graph, weakly perhaps, and put together
    from somewhat below the threshold on.
    """
    labels, taking_part = labels.copy(), labels >= 0
    for _ in range(ROUNDS):
        found = merged_by_means(
            faces.vectors, labels, faces.graph, bias=faces.bias, photo=faces.photo, least=threshold + COARSER
        )
        labels[taking_part] = renumbered(found[labels[taking_part]])
    return labels


def map_equation_groups(graph: NeighbourGraph, *, threshold: float, seed: int) -> np.ndarray:
    """Communities in which a random walk along similar faces would stay.

    An edge weighs what its similarity has above the threshold. The same graph gives the same groups.
    """
    return _seeded(partial(_communities, threshold=threshold), graph, seed)


def whispered_groups(graph: NeighbourGraph, *, threshold: float, seed: int) -> np.ndarray:
    """Every face takes the label that weighs most among its neighbours, until none changes."""
    return _seeded(partial(_whispered, threshold=threshold), graph, seed)


def _communities(graph: NeighbourGraph, *, threshold: float) -> np.ndarray:
    import networkit

    return _partition(networkit.community.LouvainMapEquation, graph, threshold, True, PASSES, "none")


def _whispered(graph: NeighbourGraph, *, threshold: float) -> np.ndarray:
    import networkit

    return _partition(networkit.community.PLP, graph, threshold, 0, 100)


def _seeded(cluster: Callable[[NeighbourGraph], np.ndarray], graph: NeighbourGraph, seed: int) -> np.ndarray:
    """One graph by itself: a seed that is set begins the numbers of threads that are running anew, too."""
    if not len(graph.left):
        return np.arange(graph.faces)
    _begin_random_numbers(seed)
    return next(in_fresh_threads(cluster, [graph]))


def _begin_random_numbers(seed: int) -> None:
    """NetworKit's threads that begin from now on draw the same numbers, each from `seed` anew."""
    import networkit

    networkit.setSeed(seed, False)


def _partition(algorithm, graph: NeighbourGraph, threshold: float, *arguments) -> np.ndarray:
    """int64[n]: what one of NetworKit's algorithms finds, in one thread, which does it in one order."""
    import networkit

    networkit.setNumberOfThreads(1)
    graph = simple(graph)
    weight = (np.maximum(graph.similarity - threshold, 0) + LEAST_WEIGHT).astype(np.float64)
    matrix = csr_matrix((weight, (graph.left, graph.right)), (graph.faces, graph.faces))
    built = networkit.graph.GraphFromCsr(matrix, directed=False, weighted=True)
    run = algorithm(built, *arguments)
    run.run()
    return np.array(run.getPartition().getVector(), np.int64)


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
    faces: StrongFaces, graph: NeighbourGraph, method: str, *, threshold: float
) -> tuple[np.ndarray, str]:
    """Few faces at once; else each connected component by itself, a large one along its edges."""
    from transforms.average_linkage import linked_groups, linked_groups_along  # on use: compiles
    from transforms.density import dense_groups, dense_groups_along

    name = "average linkage" if method == AGGLOMERATIVE else HDBSCAN

    def from_distances(members: np.ndarray) -> np.ndarray:
        distances = _distances(faces.vectors[members], faces.bias[members])
        return (linked_groups if method == AGGLOMERATIVE else dense_groups)(distances, threshold)

    labels = np.arange(graph.faces, dtype=np.int64)
    next_label, exactly, along = graph.faces, 0, 0
    if len(faces.clear) <= EXACT_LIMIT:
        labels[faces.clear] = next_label + from_distances(faces.clear)
        return labels, f"{name} from all distances"
    for members in _members(components(graph)):
        if len(members) <= EXACT_LIMIT:
            found = from_distances(members)
            exactly += 1
        else:
            part = graph_within(graph, members)
            if method == AGGLOMERATIVE:
                found = linked_groups_along(
                    part, threshold, vectors=faces.vectors[members], bias=faces.bias[members]
                )
            else:
                found = dense_groups_along(part, threshold)
            along += 1
        labels[members] = next_label + found
        next_label += int(found.max()) + 1
    ran = f"{name}, {exactly:,} connected components from all their distances"
    if along:
        ran += f", {along:,} of more than {EXACT_LIMIT:,} faces along the neighbour graph"
    return labels, ran


def _distances(vectors: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """float64[n, n]: 1 minus the similarity of all pairs, at least 0."""
    similarity = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    similarity -= (bias[:, None].astype(np.float64) + bias) / 2
    distances = np.maximum(1 - (similarity + similarity.T) / 2, 0)
    np.fill_diagonal(distances, 0)
    return distances


def _kmeans_groups(vectors: np.ndarray, people: int | None, *, seed: int) -> tuple[np.ndarray, str]:
    if people is None or people < 1:
        raise ValueError("k-means needs the number of people: --people K")
    from sklearn.cluster import KMeans, MiniBatchKMeans

    count = min(people, len(vectors))
    if not count:
        return np.zeros(0, np.int64), "k-means, no faces"
    if len(vectors) <= KMEANS_LIMIT:
        fitted = KMeans(count, n_init=1, random_state=seed).fit(vectors)
        return fitted.labels_.astype(np.int64), f"k-means, {count:,} groups"
    batch = MiniBatchKMeans(count, n_init=1, batch_size=max(4096, 2 * count), random_state=seed).fit(vectors)
    return batch.labels_.astype(np.int64), f"k-means in batches, {count:,} groups"
