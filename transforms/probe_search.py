"""The neighbours of some faces among all: what an increment asks for, at a cost that goes with its faces.

All faces are gone through once, so they may lie in a file: slice by slice, or in a large library cell by
cell. There every face lies in its nearest cell, and is compared with those that have this cell among their
nearest ones. Threads share out the faces that look for neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import torch

from transforms.best_neighbours import Best, Format
from transforms.blocked_search import Table, in_threads, product_format, similarities
from transforms.cells import nearest_cells, plan_cells, sample_size
from transforms.edge_lists import Directed, strongest

_SLICE, _BLOCK = 8192, 512
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Cells:
    """float32[c, d] `centres`, the faces int64[·] of each cell, ascending, and in how many of its nearest
    cells a face looks for neighbours."""

    centres: np.ndarray
    members: Sequence[np.ndarray]
    probes: int

    @classmethod
    def planned(
        cls, vectors: np.ndarray, *, usual: int, most: int, probes: int, seed: int, threads: int = 1
    ) -> Cells:
        """Cells in which some `usual` of float32[n, d] `vectors`, perhaps in a file, lie, and `most` where
        more are alike (`cells.plan_cells`)."""
        size = sample_size(len(vectors), usual=usual)
        rows = np.unique(np.linspace(0, len(vectors) - 1, size).astype(np.int64))
        sample = np.asarray(vectors[rows])
        centres = plan_cells(sample, faces=len(vectors), usual=usual, most=most, seed=seed)
        return cls.of(vectors, centres, probes, threads=threads)

    @classmethod
    def of(cls, vectors: np.ndarray, centres: np.ndarray, probes: int, *, threads: int = 1) -> Cells:
        """The cells of all faces: float32[n, d] `vectors`, perhaps in a file."""
        slices = [slice(start, start + _SLICE) for start in range(0, len(vectors), _SLICE)]
        with ThreadPoolExecutor(threads) as pool:
            found = pool.map(lambda part: nearest_cells(vectors[part], centres, 1), slices)
            nearest = np.concatenate([np.zeros((0, 1), np.int32), *found])
        return cls(centres, _places(nearest, len(centres)), probes)


def neighbours_among(
    vectors: np.ndarray, rows: np.ndarray, k: int, *, least: float, bias: np.ndarray | None = None,
    base: np.ndarray | None = None, cells: Cells | None = None, threads: int = 1,
    bfloat16: bool | None = None,
) -> Directed:  # fmt: skip
    """For each of the faces int64[m] `rows` the up to `k` most similar others with a similarity ≥ `least`.

    `vectors` float32[n, d] of unit length, perhaps in a file, with `bias` float32[n] as in
    `blocked_search`; neighbours are all other faces, or those of int64[b] `base`. Without `cells`, which are
    of all faces, all pairs are compared; how exact that is in `bfloat16`: see `blocked_search.search`.
    Memory: 12 bytes for each of m·k neighbours, the vectors of `rows`, and a slice or cell of the others.
    """
    form = product_format(bfloat16)
    best = Best(len(rows), min(k, max(len(vectors) - 1, 0)), form, least)
    if len(rows) and k > 0:
        wanted = np.ascontiguousarray(vectors[rows], np.float32)
        queries = Table.of(wanted, None if bias is None else bias[rows], form)
        with in_threads(threads) as each:
            meetings = _meetings(wanted, len(vectors), base, cells)
            for (asking, others), table in _one_ahead(
                lambda meeting: _table_of(vectors, bias, meeting[1], form), meetings
            ):
                compare = partial(_compare, best, queries, rows, table, others.astype(np.int32))
                list(each(compare, np.array_split(asking, threads)))
    query, other = best.pairs()
    face = rows[query].astype(np.int32)
    exact = similarities(np.asarray(vectors), bias, face, other)
    found = strongest(query, other, exact, k=k, least=least)
    return Directed(rows[found.face].astype(np.int32), found.other, found.similarity)


def _meetings(
    wanted: np.ndarray, faces: int, base: np.ndarray | None, cells: Cells | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(int64[a] some of the queries float32[m, d] `wanted`, int64[b] the faces they are compared with)."""
    if cells is None:
        others = np.arange(faces) if base is None else base
        for start in range(0, len(others), _SLICE):
            yield np.arange(len(wanted)), others[start : start + _SLICE]
        return
    allowed = np.full(faces, base is None)
    if base is not None:
        allowed[base] = True
    asking = _places(nearest_cells(wanted, cells.centres, cells.probes), len(cells.centres))
    for queries, members in zip(asking, cells.members, strict=True):
        others = members[allowed[members]] if len(queries) else members
        if len(queries) and len(others):
            yield queries, others


def _table_of(vectors: np.ndarray, bias: np.ndarray | None, rows: np.ndarray, form: Format) -> Table:
    part = np.ascontiguousarray(vectors[rows], np.float32)
    return Table.of(part, None if bias is None else bias[rows], form)


def _one_ahead(function: Callable[[T], R], elements: Iterable[T]) -> Iterator[tuple[T, R]]:
    """Each element with what `function` makes of it, which happens while the one before is in use."""
    with ThreadPoolExecutor(1) as reader:
        begun: list[tuple[T, Future[R]]] = []
        for element in elements:
            begun.append((element, reader.submit(function, element)))
            if len(begun) > 1:
                earlier, made = begun.pop(0)
                yield earlier, made.result()
        for element, made in begun:
            yield element, made.result()


def _places(cells: np.ndarray, count: int) -> list[np.ndarray]:
    """For each cell 0 … count - 1 the rows of int[n, p] `cells` that name it, ascending."""
    order = np.argsort(cells.ravel(), kind="stable")
    bounds = np.cumsum(np.bincount(cells.ravel(), minlength=count))[:-1]
    return np.split(order // cells.shape[1], bounds)


def _compare(
    best: Best, queries: Table, faces: np.ndarray, table: Table, others: np.ndarray, asking: np.ndarray
) -> None:
    """Offers the queries int64[a] `asking`, who are `faces`, the others of a slice or cell."""
    right = table.right(slice(None)).T
    for start in range(0, len(asking), _BLOCK):
        block = asking[start : start + _BLOCK]
        best.take(torch.mm(queries.left(torch.from_numpy(block)), right), block, faces[block], others)
