"""Groups found component by component, so that a graph library sees one part of the edges at a time.

Edges below the threshold are cut first. What is connected then is clustered on its own, since no method
joins what no chain of edges joins; small components go together in batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numba
import numpy as np

from transforms.edge_files import Edges, edge_slices, edges_by
from transforms.fresh_threads import in_fresh_threads
from transforms.neighbours import NeighbourGraph

_BATCH_EDGES = 1_000_000


def group_by_component(
    graph: NeighbourGraph, cluster: Callable[[NeighbourGraph], np.ndarray], *,
    batch_edges: int | None = None, threads: int = 1, folder: str | None = None,
) -> np.ndarray:  # fmt: skip
    """int64[n]: a group for every face, as `cluster` finds them in graphs of at most `batch_edges` edges, a
    million by default; `threads` graphs at a time, each in a fresh thread.

    A larger graph goes batch by batch, a batch being whole components and, but for a component that is
    larger, at most `batch_edges` edges. The arrays of `graph` may lie in files, and batches do in a local
    `folder`.
    """
    batch_edges = batch_edges or _BATCH_EDGES
    if len(graph.left) <= batch_edges:
        return next(in_fresh_threads(cluster, [graph]))
    labels = np.arange(graph.faces, dtype=np.int64)
    next_label = graph.faces

    def grouped(batch: Edges) -> tuple[np.ndarray, np.ndarray]:
        left, right, similarity = batch
        inside = np.zeros(graph.faces, bool)
        inside[left], inside[right] = True, True
        members, place = np.flatnonzero(inside), np.empty(graph.faces, np.int32)
        place[members] = np.arange(len(members), dtype=np.int32)
        return members, cluster(NeighbourGraph(len(members), place[left], place[right], similarity))

    batches = _batches(graph, connected_components(graph), batch_edges, folder)
    for members, found in in_fresh_threads(grouped, batches, threads=threads):
        labels[members] = next_label + found
        next_label += int(found.max()) + 1
    return labels


def connected_components(graph: NeighbourGraph) -> np.ndarray:
    """int32[n]: for every face the first face of its connected component."""
    return joined_by(graph.faces, ((left, right) for left, right, _ in edge_slices(graph)))


def joined_by(faces: int, edges: Iterable[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """int32[n]: for each of so many faces the first of those that edges, int32[m] twice at a time, join."""
    parent = np.arange(faces, dtype=np.int32)
    for left, right in edges:
        _unite(parent, np.asarray(left), np.asarray(right))
    flatten(parent)
    return parent


@numba.njit(cache=True)
def root_of(parent, face):
    """The root of a face's tree in int[n] `parent`, whose path is halved on the way."""
    while parent[face] != face:
        parent[face] = parent[parent[face]]
        face = parent[face]
    return face


@numba.njit(cache=True)
def _unite(parent, left, right):
    """Union-find with path halving (Tarjan & van Leeuwen 1984); the first face stays the root."""
    for edge in range(len(left)):
        a, b = root_of(parent, left[edge]), root_of(parent, right[edge])
        if a < b:
            parent[b] = a
        elif b < a:
            parent[a] = b


@numba.njit(cache=True)
def flatten(parent):
    """Names the root of every face as its parent."""
    for face in range(len(parent)):
        parent[face] = root_of(parent, face)


def _batches(graph: NeighbourGraph, component: np.ndarray, most: int, folder: str | None) -> Iterator[Edges]:
    """The edges, batch by batch of whole components, in the order of their first faces."""
    edges_of = np.zeros(graph.faces, np.int64)
    for left, _, _ in edge_slices(graph):
        edges_of += np.bincount(component[left], minlength=graph.faces)
    batch_of = np.cumsum(_begins(edges_of, most)).astype(np.int32) - 1
    sizes = np.bincount(batch_of, edges_of).astype(np.int64)
    return edges_by(graph, lambda left: batch_of[component[left]], sizes, folder=folder)


@numba.njit(cache=True)
def _begins(edges_of, most):
    """bool[n]: at which faces a new batch begins, when batches take `most` edges or one component."""
    begins = np.zeros(len(edges_of), np.bool_)
    filled = most + 1
    for face in range(len(edges_of)):
        if edges_of[face] and filled + edges_of[face] > most:
            begins[face] = True
            filled = 0
        filled += edges_of[face]
    if len(begins):
        begins[0] = True
    return begins
