"""Every face against every other, each pair once, keeping what is near.

A tile of similarities is a matrix product, in bfloat16 where the processor multiplies in it natively
(twice and more as fast), else in float32; it is read by rows, and turned round by columns. Each face
keeps its k best so far. What its next ones must reach is found first, from the highest of every few of a
tile: so a face among twenty thousand of its person takes little more of them in hand than it keeps. The
similarities of what is kept are computed again in float32. Which faces these are doesn't depend on threads
or order: of equals the first by number is kept.

A similarity is a cosine, or, where faces have biases (`models.calibration.Cohort`), the cosine minus half
of both: two more numbers a face make that a product too, so that neighbours are ranked by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numba
import numpy as np
import torch

from transforms.best_neighbours import BFLOAT16, FLOAT32, Best, Format
from transforms.edge_lists import Directed, strongest

# All faces meet in tiles of so many, which are multiplied strip by strip.
_TILE, _STRIP = 4096, 256
# Matrix units take so many numbers of a vector at a time; sides of products are multiples of so many rows.
_STEP, _FILL = 32, 128


def _whole(count: int, step: int) -> int:
    """The next multiple of `step`."""
    return -(-count // step) * step


@dataclass(frozen=True)
class Table:
    """Vectors as they are multiplied: `left(a) @ right(b).T` holds the similarities of rows a and b.

    With biases the numbers of a `vectors` row are followed by 1 and minus half of its bias, which are
    swapped on the left. Rows of zeros fill the last block, for code is compiled for each shape of a product.
    """

    rows: torch.Tensor
    swapped: int | None = None

    @classmethod
    def of(cls, vectors: np.ndarray, bias: np.ndarray | None, form: Format) -> Table:
        """Of float32[n, d] unit `vectors` and perhaps float32[n] `bias`."""
        count, dimensions = vectors.shape
        width = dimensions if bias is None else _whole(dimensions + 2, _STEP)
        rows = torch.zeros((_whole(count, _FILL), width), dtype=form.dtype)
        rows[:count, :dimensions] = torch.from_numpy(vectors)
        if bias is None:
            return cls(rows)
        rows[:count, dimensions] = 1
        rows[:count, dimensions + 1] = torch.from_numpy(bias) * -0.5
        return cls(rows, dimensions)

    def left(self, which: slice | torch.Tensor) -> torch.Tensor:
        """Up to a block of rows, and some of zeros, for the left side of a product."""
        chosen = self.rows[which]
        filled = _whole(len(chosen), _FILL)
        if self.swapped is None and len(chosen) == filled:
            return chosen
        rows = torch.zeros((filled, chosen.shape[1]), dtype=chosen.dtype)
        rows[: len(chosen)] = chosen
        if self.swapped is not None:
            ends = [self.swapped + 1, self.swapped]
            rows[: len(chosen), ends[::-1]] = chosen[:, ends]
        return rows

    def right(self, which: slice | torch.Tensor) -> torch.Tensor:
        """Rows for the right side."""
        return self.rows[which]


def search(
    vectors: np.ndarray, k: int, *, least: float, bias: np.ndarray | None = None, threads: int = 1,
    bfloat16: bool | None = None,
) -> Directed:  # fmt: skip
    """For each of float32[n, d] unit `vectors` the up to `k` others with most similarity ≥ `least`; of
    cosines, or with `bias` float32[n] minus half of both biases.

    `bfloat16` says how candidates are found; by default as the processor does it best. Exact in
    float32; in bfloat16 a neighbour may be missed whose rank is beyond k - 8 and whose similarity is
    within 0.006 of another's. Memory: 1.5 times the vectors, 12 bytes for each of n·k neighbours at
    most, and a tile of 16 million similarities.
    """
    form = product_format(bfloat16)
    vectors = np.require(vectors, np.float32, ["C", "W"])  # torch warns of what it may not write
    count = len(vectors)
    best = Best(count, min(k, max(count - 1, 0)), form, least)
    if count > 1 and k > 0:
        table = Table.of(vectors, bias, form)
        tiles = [slice(start, min(start + _TILE, count)) for start in range(0, count, _TILE)]
        room = torch.empty(min(_TILE, len(table.rows)) ** 2, dtype=form.dtype)
        with in_threads(threads) as each:
            for number, rows in enumerate(tiles):
                for columns in tiles[number:]:
                    _meet(table, best, rows, columns, room, each)
    face, other = best.pairs()
    return strongest(face, other, similarities(vectors, bias, face, other), k=k, least=least)


def _meet(table: Table, best: Best, rows: slice, columns: slice, room: torch.Tensor, each: Callable) -> None:
    """Offers the faces `rows` to the faces `columns`, and these to them: what two are alike is multiplied
    once. `each` calls a function for each strip of rows; similarities lie in `room`."""
    height, width = (_whole(side.stop - side.start, _FILL) for side in (rows, columns))
    block = room[: height * width].view(height, width)
    mine, others = (np.arange(side.start, side.stop, dtype=np.int32) for side in (rows, columns))
    itself = rows == columns

    def multiply(strip: slice) -> None:
        start = strip.start if itself else 0
        left = table.left(slice(rows.start + strip.start, rows.start + strip.stop))
        right = table.right(slice(columns.start + start, columns.start + width))
        torch.mm(left, right.T, out=block[strip, start:])

    def offer(strip: slice) -> None:
        best.take(block[strip], mine[strip], mine[strip], others)

    def offer_back(strip: slice) -> None:
        best.take(block[:, strip].T.contiguous(), others[strip], others[strip], mine)

    list(each(multiply, _strips(height)))
    if itself:
        for strip in _strips(height):
            block[strip.stop :, strip] = block[strip, strip.stop :].T
    list(each(offer, _strips(height)))
    if not itself:
        list(each(offer_back, _strips(width)))


def _strips(count: int) -> list[slice]:
    return [slice(start, min(start + _STRIP, count)) for start in range(0, count, _STRIP)]


@contextmanager
def in_threads(threads: int) -> Iterator[Callable]:
    """`map` in so many threads, in each of which torch uses one, and so sums in one order."""
    if threads == 1 == torch.get_num_threads():
        yield map  # this one will do
    else:
        with torch_threads(threads) as pool:
            yield pool.map


def torch_threads(threads: int) -> ThreadPoolExecutor:
    """A pool of `threads`, in each of which torch uses one: it keeps their number for each thread anew."""
    return ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))


def product_format(bfloat16: bool | None = None) -> Format:
    """The number format asked for; by default the one in which the processor multiplies best."""
    from models.engine import cpu_has_bfloat16

    native = cpu_has_bfloat16() if bfloat16 is None else bfloat16
    return BFLOAT16 if native else FLOAT32


def similarities(
    vectors: np.ndarray, bias: np.ndarray | None, left: np.ndarray, right: np.ndarray
) -> np.ndarray:
    """float32[m]: the similarity of rows `left` and `right` of float32[n, d] unit vectors, pair by pair."""
    found = _cosines(vectors, left, right)
    if bias is not None:
        found -= (bias[left] + bias[right]) / 2
    return found


@numba.njit(cache=True, nogil=True)
def _cosines(vectors, left, right):
    result = np.empty(len(left), np.float32)
    for pair in range(len(left)):
        result[pair] = cosine(vectors[left[pair]], vectors[right[pair]])
    return result


@numba.njit(cache=True, nogil=True, fastmath=True)  # sums in any order, so that they become vector code
def cosine(a, b):
    """float32: of float32[d] unit vectors `a` and `b`."""
    total = np.float32(0)
    for i in range(len(a)):
        total += a[i] * b[i]
    return total
