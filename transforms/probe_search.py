"""The neighbours of some faces among all: what an increment asks for, at a cost that goes with its faces.

All faces are gone through once, slice by slice, so they may lie in a file. In a large library every face
lies in its nearest cell, and is compared with those that have this cell among their nearest ones.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from transforms.blocked_search import (
    Best,
    Directed,
    Format,
    Table,
    product_format,
    reaching_pairs,
    similarities,
    strongest,
)
from transforms.cells import nearest_cells

_ROWS = 1024
_SLICE = 4096
# Slices of cells are longer, so that a cell's part of one is worth a matrix product.
_CELL_SLICE = 49_152


@dataclass(frozen=True)
class Cells:
    """float32[c, d] `centres`, and in how many of its nearest cells a face's neighbours are looked for."""

    centres: np.ndarray
    probes: int


def neighbours_among(
    vectors: np.ndarray, rows: np.ndarray, k: int, *, least: float, bias: np.ndarray | None = None,
    base: np.ndarray | None = None, cells: Cells | None = None, threads: int = 1,
    bfloat16: bool | None = None,
) -> Directed:  # fmt: skip
    """For each of the faces int64[m] `rows` the up to `k` most similar others with a similarity ≥ `least`.

    `vectors` float32[n, d] of unit length, perhaps in a file, with `bias` float32[n] as in
    `blocked_search`; neighbours are all other faces, or those of int64[b] `base`. Without `cells` all
    pairs are compared; how exact that is in `bfloat16`: see `blocked_search.search`. Memory: 12 bytes for
    each of m·k neighbours, the vectors of `rows`, and a slice of the others a thread.
    """
    form = product_format(bfloat16)
    best = Best(len(rows), min(k, max(len(vectors) - 1, 0)) + form.slack)
    if len(rows) and k > 0:
        wanted = np.ascontiguousarray(vectors[rows], np.float32)
        table = Table.of(wanted, None if bias is None else bias[rows], form)
        queries = _Queries(table, wanted, form, least - form.margin, cells)
        for query, other, similarity in queries.found(vectors, bias, base, threads):
            others = rows[query] != other
            best.offer(query[others], other[others], similarity[others])
    query, other = best.pairs()
    face = rows[query].astype(np.int32)
    exact = similarities(np.asarray(vectors), bias, face, other)
    found = strongest(query, other, exact, k=k, least=least)
    return Directed(rows[found.face].astype(np.int32), found.other, found.similarity)


class _Queries:
    """The faces that look for neighbours, by the cells in which they do."""

    def __init__(
        self, table: Table, vectors: np.ndarray, form: Format, bar: float, cells: Cells | None
    ) -> None:
        self._table, self._form, self._bar = table, form, bar
        self._centres = None if cells is None else torch.from_numpy(cells.centres)
        if cells is not None:
            probed = nearest_cells(vectors, cells.centres, cells.probes)
            order = np.argsort(probed.ravel(), kind="stable")
            self._of_cell = np.split(
                order // probed.shape[1],
                np.cumsum(np.bincount(probed.ravel(), minlength=len(cells.centres)))[:-1],
            )

    def found(
        self, vectors: np.ndarray, bias: np.ndarray | None, base: np.ndarray | None, threads: int
    ) -> Iterator[tuple[np.ndarray, ...]]:
        """(query, row, similarity) of pairs, slice by slice in order."""
        count = len(vectors) if base is None else len(base)
        size = _SLICE if self._centres is None else _CELL_SLICE
        waiting: deque[Future] = deque()
        # torch keeps the number of threads for each thread anew; one thread sums in one order.
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for start in range(0, count, size):
                these = slice(start, start + size) if base is None else base[start : start + size]
                waiting.append(pool.submit(self._in_slice, vectors, bias, these))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _in_slice(
        self, vectors: np.ndarray, bias: np.ndarray | None, these: slice | np.ndarray
    ) -> tuple[np.ndarray, ...]:
        part = np.array(vectors[these], np.float32)
        table = Table.of(part, None if bias is None else bias[these], self._form)
        numbers = np.arange(these.start, these.start + len(part)) if isinstance(these, slice) else these
        numbers = numbers.astype(np.int32)
        pieces = [(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32))]
        for queries, rows in self._together(part):
            others = numbers if rows is None else numbers[rows]
            right_side = table.right(slice(None) if rows is None else torch.from_numpy(rows))
            for at in range(0, len(queries), _ROWS):
                block = queries[at : at + _ROWS]
                chosen = slice(at, at + _ROWS) if rows is None else torch.from_numpy(block)
                left_side = self._table.left(chosen)
                left, right, similarity = reaching_pairs(left_side, right_side, self._form, self._bar)
                pieces.append((block[left].astype(np.int32), others[right], similarity))
        return tuple(np.concatenate(column) for column in zip(*pieces, strict=True))

    def _together(self, part: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """Which queries are compared with which rows of a part, None for all with all."""
        if self._centres is None:
            yield np.arange(len(self._table.rows)), None
            return
        cell = (torch.from_numpy(part) @ self._centres.T).argmax(dim=1).numpy()
        order = np.argsort(cell, kind="stable")
        bounds = np.cumsum(np.bincount(cell, minlength=len(self._centres)))[:-1]
        for queries, rows in zip(self._of_cell, np.split(order, bounds), strict=True):
            if len(queries) and len(rows):
                yield queries, rows
