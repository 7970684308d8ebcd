"""The edges of a graph slice by slice, and what is made of them in memory or in files.

A library of twenty million faces has hundreds of millions of edges.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import chain

import numpy as np

from transforms import storage
from transforms.neighbours import NeighbourGraph
from transforms.vector_file import new_mapped

# int32[m] both faces, float32[m] their similarity.
Edges = tuple[np.ndarray, np.ndarray, np.ndarray]

_KINDS = (np.dtype("<i4"), np.dtype("<i4"), np.dtype("<f4"))
_SLICE = 8_000_000


def edge_slices(graph: NeighbourGraph) -> Iterator[Edges]:
    """All edges, some millions at a time. The arrays of `graph` may lie in files."""
    for start in range(0, len(graph.left), _SLICE):
        piece = slice(start, start + _SLICE)
        yield (
            np.asarray(graph.left[piece]),
            np.asarray(graph.right[piece]),
            np.asarray(graph.similarity[piece]),
        )


def chosen_edges(
    graph: NeighbourGraph, choose: Callable[[np.ndarray, np.ndarray, np.ndarray], Edges], *,
    more: Iterable[Edges] = (), folder: str | None = None,
) -> NeighbourGraph:  # fmt: skip
    """What `choose` makes of each slice of the edges, and `more`, in order: in memory, or in files in the
    local `folder`. Raises WriteFailed where there is no room for them."""
    parts = chain((choose(*edges) for edges in edge_slices(graph)), more)
    if folder is None:
        empty = tuple(np.zeros(0, kind) for kind in _KINDS)
        columns = [np.concatenate(column) for column in zip(empty, *parts, strict=True)]
        return NeighbourGraph(graph.faces, *columns)
    paths = [storage.join(folder, f"edges-{uuid.uuid4().hex}") for _ in _KINDS]
    with storage.writing(paths[0]), ExitStack() as opened:
        files = [opened.enter_context(open(path, "wb")) for path in paths]
        for part in parts:
            for file, column, kind in zip(files, part, _KINDS, strict=True):
                file.write(np.ascontiguousarray(column, kind).data)
    return NeighbourGraph(graph.faces, *(_mapped(*known) for known in zip(paths, _KINDS, strict=True)))


def _mapped(path: str, kind: np.dtype) -> np.ndarray:
    try:
        return np.memmap(path, kind, "r")
    except ValueError:  # an empty file can't be mapped
        return np.zeros(0, kind)


def edges_by(
    graph: NeighbourGraph, batch: Callable[[np.ndarray], np.ndarray], sizes: np.ndarray, *,
    folder: str | None = None,
) -> Iterator[Edges]:  # fmt: skip
    """The edges batch by batch: those whose first faces are of the same `batch` (int[m] → int[m]), in order;
    of each there are int64[b] `sizes`, of some perhaps none. They are sorted in memory, or in files in the
    local `folder`."""
    ends = np.cumsum(sizes)
    filled = ends - sizes
    columns = [_room(kind, len(graph.left), folder) for kind in _KINDS]
    for edges in edge_slices(graph):
        number = batch(edges[0])
        order = np.argsort(number, kind="stable")
        number = number[order]
        begins = np.flatnonzero(np.append(True, np.diff(number) != 0))
        for begin, end in zip(begins.tolist(), [*begins[1:].tolist(), len(number)], strict=True):
            start = int(filled[number[begin]])
            filled[number[begin]] += end - begin
            for column, values in zip(columns, edges, strict=True):
                column[start : start + end - begin] = values[order[begin:end]]
    for start, end in zip((ends - sizes)[sizes > 0].tolist(), ends[sizes > 0].tolist(), strict=True):
        left, right, similarity = (np.asarray(column[start:end]) for column in columns)
        yield left, right, similarity


def _room(kind: np.dtype, count: int, folder: str | None) -> np.ndarray:
    if folder is None or not count:
        return np.empty(count, kind)
    return new_mapped(storage.join(folder, f"edges-{uuid.uuid4().hex}"), kind, (count,))
