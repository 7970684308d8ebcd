"""The neighbours of some faces among all: what an increment asks for, at a cost that goes with its faces.

All faces are gone through once, slice by slice, so they may lie in a file. In a large library every face
lies in its nearest cell, and is compared with those that have this cell among their nearest ones. Threads
share out the faces that look for neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from transforms.blocked_search import Best, Directed, Table, product_format, similarities, strongest
from transforms.cells import nearest_cells

_ROWS = 512
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
    count = len(vectors) if base is None else len(base)
    form = product_format(bfloat16)
    best = Best(len(rows), min(k, max(len(vectors) - 1, 0)), form, least)
    if len(rows) and k > 0:
        wanted = np.ascontiguousarray(vectors[rows], np.float32)
        queries = Table.of(wanted, None if bias is None else bias[rows], form)
        sharing = _shares(wanted, cells, threads)
        size = _SLICE if cells is None else _CELL_SLICE
        # torch keeps the number of threads for each thread anew; one thread sums in one order.
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for start in range(0, count, size):
                these = slice(start, start + size) if base is None else base[start : start + size]
                part = np.array(vectors[these], np.float32)
                numbers = np.arange(start, start + len(part)) if base is None else base[start : start + size]
                table = Table.of(part, None if bias is None else bias[these], form)
                together = partial(
                    _compare, best, queries, rows, table, numbers.astype(np.int32), _rows_by_cell(part, cells)
                )
                list(pool.map(together, sharing))
    query, other = best.pairs()
    face = rows[query].astype(np.int32)
    exact = similarities(np.asarray(vectors), bias, face, other)
    found = strongest(query, other, exact, k=k, least=least)
    return Directed(rows[found.face].astype(np.int32), found.other, found.similarity)


# Of one thread's share of the queries int[m]: those that look in each cell, or all of them.
_Share = list[np.ndarray]


def _shares(wanted: np.ndarray, cells: Cells | None, threads: int) -> list[_Share]:
    """The queries, dealt out to threads; without cells as one."""
    parts = np.array_split(np.arange(len(wanted)), threads)
    if cells is None:
        return [[part] for part in parts]
    probed = nearest_cells(wanted, cells.centres, cells.probes)
    return [
        [part[place] for place in _places(probed[part], len(cells.centres))] for part in parts
    ]  # fmt: skip


def _rows_by_cell(part: np.ndarray, cells: Cells | None) -> list[np.ndarray] | None:
    """Which rows of a slice have each cell as their nearest."""
    if cells is None:
        return None
    return list(_places(nearest_cells(part, cells.centres, 1), len(cells.centres)))


def _places(cells: np.ndarray, count: int) -> Iterator[np.ndarray]:
    """For each cell 0 … count - 1 the rows of int[n, p] `cells` that name it, ascending."""
    order = np.argsort(cells.ravel(), kind="stable")
    bounds = np.cumsum(np.bincount(cells.ravel(), minlength=count))[:-1]
    yield from np.split(order // cells.shape[1], bounds)


def _compare(
    best: Best, queries: Table, faces: np.ndarray, table: Table, numbers: np.ndarray,
    by_cell: list[np.ndarray] | None, share: _Share,
) -> None:  # fmt: skip
    """Offers the queries of one share the rows of a slice."""
    for cell, mine in enumerate(share):
        rows = None if by_cell is None else by_cell[cell]
        right = table.right(slice(None) if rows is None else torch.from_numpy(rows))
        others = numbers if rows is None else numbers[rows]
        for start in range(0, len(mine) if len(others) else 0, _ROWS):
            block = mine[start : start + _ROWS]
            best.take(torch.mm(queries.left(torch.from_numpy(block)), right.T), block, faces[block], others)
