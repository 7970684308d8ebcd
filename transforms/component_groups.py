"""Groups found component by component, so that a graph library sees one part of the edges at a time.

Edges below the threshold are cut first. What is connected then is clustered on its own, since no method
joins what no chain of edges joins; small components go together in batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numba
import numpy as np

from transforms.fresh_threads import in_fresh_threads
from transforms.neighbours import NeighbourGraph

_BATCH_EDGES = 1_000_000
_SLICE = 8_000_000


def group_by_component(
    graph: NeighbourGraph, cluster: Callable[[NeighbourGraph], np.ndarray], *,
    batch_edges: int | None = None, threads: int = 1,
) -> np.ndarray:  # fmt: skip
    """int64[n]: a group for every face, as `cluster` finds them in graphs of at most `batch_edges` edges, a
    million by default; `threads` graphs at a time, each in a fresh thread.

    A larger graph goes batch by batch, a batch being whole components and, but for a component that is
    larger, at most `batch_edges` edges. The arrays of `graph` may lie in files.
    """
    batch_edges = batch_edges or _BATCH_EDGES
    if len(graph.left) <= batch_edges:
        return next(in_fresh_threads(cluster, [graph]))
    labels = np.arange(graph.faces, dtype=np.int64)
    next_label = graph.faces

    def grouped(batch: _Edges) -> tuple[np.ndarray, np.ndarray]:
        inside = np.zeros(graph.faces, bool)
        inside[batch.left], inside[batch.right] = True, True
        members, place = np.flatnonzero(inside), np.empty(graph.faces, np.int32)
        place[members] = np.arange(len(members), dtype=np.int32)
        part = NeighbourGraph(len(members), place[batch.left], place[batch.right], batch.similarity)
        return members, cluster(part)

    batches = _batches(graph, connected_components(graph), batch_edges)
    for members, found in in_fresh_threads(grouped, batches, threads=threads):
        labels[members] = next_label + found
        next_label += int(found.max()) + 1
    return labels


def connected_components(graph: NeighbourGraph) -> np.ndarray:
    """int32[n]: for every face the first face of its connected component."""
    pieces = (slice(start, start + _SLICE) for start in range(0, len(graph.left), _SLICE))
    return joined_by(graph.faces, ((graph.left[piece], graph.right[piece]) for piece in pieces))


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


@dataclass(frozen=True)
class _Edges:
    left: np.ndarray
    right: np.ndarray
    similarity: np.ndarray


def _batches(graph: NeighbourGraph, component: np.ndarray, most: int) -> Iterator[_Edges]:
    """The edges, batch by batch of whole components, in the order of their first faces."""
    edges_of = np.zeros(graph.faces, np.int64)
    batch = np.empty(len(graph.left), np.int32)
    for start in range(0, len(graph.left), _SLICE):
        of_slice = component[graph.left[start : start + _SLICE]]
        edges_of += np.bincount(of_slice, minlength=graph.faces)
        batch[start : start + _SLICE] = of_slice
    batch_of = np.cumsum(_begins(edges_of, most)).astype(np.int32)
    for start in range(0, len(batch), _SLICE):
        batch[start : start + _SLICE] = batch_of[batch[start : start + _SLICE]]
    order = np.argsort(batch, kind="stable")
    bounds = np.flatnonzero(np.diff(batch[order])) + 1
    del batch
    for chosen in np.split(order, bounds):
        if len(chosen):
            yield _Edges(graph.left[chosen], graph.right[chosen], graph.similarity[chosen])


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
