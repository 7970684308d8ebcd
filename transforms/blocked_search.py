"""Every face against every other, in blocks that stay in the processor's cache, keeping what is near.

A block of similarities is a matrix product, in bfloat16 where the processor multiplies in it natively
(three times as fast here), else in float32. Each face keeps its k best so far, and compiled code looks
only for what is better than the worst of these: a face among twenty thousand of its person takes a few
hundred of them in hand. The similarities of what is kept are computed again in float32. Which faces
these are doesn't depend on threads or order: of equals the first by number is kept.

A similarity is a cosine, or, where faces have biases (`models.calibration.Cohort`), the cosine minus half
of both: two more numbers a face make that a product too, so that neighbours are ranked by it.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numba
import numpy as np
import torch

BLOCK, _COLUMNS = 512, 4096
# Matrix units take so many numbers of a vector at a time.
_STEP = 32
_RUN = 64


@dataclass(frozen=True)
class Directed:
    """Neighbours as they were found: int32[m] `face`, `other`, float32[m] `similarity`; sorted by face,
    the best first."""

    face: np.ndarray
    other: np.ndarray
    similarity: np.ndarray


@dataclass(frozen=True)
class Format:
    """How blocks are multiplied: `slack` more neighbours than asked for are kept, and `margin` below the
    least similarity, for what rounding may change."""

    dtype: torch.dtype
    bits: torch.dtype
    keys: type[np.signedinteger]
    slack: int
    margin: float


# A bfloat16 below one is off by up to 2^-9.
_BFLOAT16 = Format(torch.bfloat16, torch.int16, np.int16, 16, 0.006)
_FLOAT32 = Format(torch.float32, torch.int32, np.int32, 0, 1e-5)


def _whole(count: int, step: int) -> int:
    """The next multiple of `step`."""
    return -(-count // step) * step


@dataclass(frozen=True)
class Table:
    """Vectors as they are multiplied: `left(a) @ right(b).T` holds the similarities of rows a and b.

    With biases the numbers of a `vectors` row are followed by 1 and minus half of its bias, which are
    swapped on the left. Rows of zeros fill the last block: for each shape of a product code is compiled,
    which takes longer than the product.
    """

    rows: torch.Tensor
    swapped: int | None = None

    @classmethod
    def of(cls, vectors: np.ndarray, bias: np.ndarray | None, form: Format) -> Table:
        """Of float32[n, d] unit `vectors` and perhaps float32[n] `bias`."""
        count, dimensions = vectors.shape
        width = dimensions if bias is None else _whole(dimensions + 2, _STEP)
        rows = torch.zeros((_whole(count, BLOCK), width), dtype=form.dtype)
        rows[:count, :dimensions] = torch.from_numpy(vectors)
        if bias is None:
            return cls(rows)
        rows[:count, dimensions] = 1
        rows[:count, dimensions + 1] = torch.from_numpy(bias) * -0.5
        return cls(rows, dimensions)

    def left(self, which: slice | torch.Tensor) -> torch.Tensor:
        """Up to a block of rows, filled up to a block, for the left side of a product."""
        chosen = self.rows[which]
        if self.swapped is None and len(chosen) == BLOCK:
            return chosen
        rows = torch.zeros((BLOCK, chosen.shape[1]), dtype=chosen.dtype)
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
    float32; in bfloat16 a neighbour may be missed whose rank is beyond k - 16 and whose similarity is
    within 0.006 of another's. Memory: 1.5 times the vectors, 12 bytes for each of n·k neighbours at
    most, and 50 MB a thread.
    """
    form = product_format(bfloat16)
    vectors = np.require(vectors, np.float32, ["C", "W"])  # torch warns of what it may not write
    count = len(vectors)
    best = Best(count, min(k, max(count - 1, 0)), form, least)
    if count > 1 and k > 0:
        table = Table.of(vectors, bias, form)
        numbers = np.arange(count, dtype=np.int32)

        def judge(row: int) -> None:
            mine, left = numbers[row : row + BLOCK], table.left(slice(row, row + BLOCK))
            for column in range(0, count, _COLUMNS):
                others = slice(column, column + _COLUMNS)
                best.take(torch.mm(left, table.right(others).T), mine, mine, numbers[others])

        if threads == 1:
            for row in range(0, count, BLOCK):
                judge(row)
        else:
            # torch keeps the number of threads for each thread anew.
            with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                list(pool.map(judge, range(0, count, BLOCK)))
    face, other = best.pairs()
    return strongest(face, other, similarities(vectors, bias, face, other), k=k, least=least)


def product_format(bfloat16: bool | None = None) -> Format:
    """The number format asked for; by default the one in which the processor multiplies best."""
    from models.engine import cpu_has_bfloat16

    native = cpu_has_bfloat16() if bfloat16 is None else bfloat16
    return _BFLOAT16 if native else _FLOAT32


class Best:
    """For each face a heap of its `k` best neighbours so far and some more, the worst of them on top.

    Similarities are kept as the bits of their format, as whole numbers, of which several can be compared
    at a time and which are in the same order.
    """

    def __init__(self, faces: int, k: int, form: Format, least: float) -> None:
        capacity = max(k + form.slack, 1)
        self._form, self._negative = form, least - form.margin <= 0
        self._keys = np.empty((faces, capacity), form.keys)
        self._others = np.empty((faces, capacity), np.int32)
        self._count = np.zeros(faces, np.int32)
        self._least = self._ordered(torch.tensor([[least - form.margin]]).to(form.dtype))[0, 0]

    def take(self, block: torch.Tensor, heaps: np.ndarray, faces: np.ndarray, others: np.ndarray) -> None:
        """Offers the faces int[n], whose heaps are int[n] `heaps`, the others int32[m].

        The first n rows and m columns of `block` hold their similarities. Nobody is offered themselves.
        Threads may share a `Best`, but not a heap.
        """
        _keep_best(
            self._ordered(block), self._least, heaps, faces, others, self._keys, self._others, self._count
        )

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """(int32[m] whose heap, int32[m] the neighbours in it), heap by heap."""
        inside = np.arange(self._others.shape[1]) < self._count[:, None]
        return np.repeat(np.arange(len(self._count), dtype=np.int32), self._count), self._others[inside]

    def _ordered(self, block: torch.Tensor) -> np.ndarray:
        bits = block.view(self._form.bits).numpy()
        # Those of negative numbers run the other way, which matters only where such are wanted.
        return np.where(bits < 0, bits ^ np.iinfo(bits.dtype).max, bits) if self._negative else bits


@numba.njit(cache=True, nogil=True)
def _keep_best(bits, least, heaps, faces, others, keys, held_others, count):
    capacity = held_others.shape[1]
    columns = len(others)
    for i in range(len(heaps)):
        heap = heaps[i]
        held = count[heap]
        bar = least if held < capacity else keys[heap, 0]
        for start in range(0, columns, _RUN):
            if start + _RUN <= columns:
                # So many at a time, known to the compiler, are a few instructions; hardly any run has a hit.
                run, hit = bits[i, start : start + _RUN], np.int16(0)
                for j in range(_RUN):
                    hit |= np.int16(run[j] >= bar)
                if not hit:
                    continue
            for j in range(start, min(start + _RUN, columns)):
                if bits[i, j] >= bar and others[j] != faces[i]:
                    held = _push(keys[heap], held_others[heap], held, bits[i, j], others[j])
                    if held == capacity:
                        bar = max(least, keys[heap, 0])
        count[heap] = held


@numba.njit(cache=True, nogil=True)
def _worse(similarity, other, than_similarity, than_other):
    return similarity < than_similarity or (similarity == than_similarity and other > than_other)


@numba.njit(cache=True, nogil=True)
def _push(similarities, others, count, similarity, other):
    """Adds to one face's heap, dropping the worst when it is full; returns the new count."""
    capacity = len(others)
    if count < capacity:
        place = count
        while place > 0:
            parent = (place - 1) // 2
            if not _worse(similarity, other, similarities[parent], others[parent]):
                break
            similarities[place], others[place] = similarities[parent], others[parent]
            place = parent
        similarities[place], others[place] = similarity, other
        return count + 1
    if not _worse(similarities[0], others[0], similarity, other):
        return count
    place = 0
    while True:
        child = 2 * place + 1
        if child >= capacity:
            break
        right = child + 1
        if right < capacity and _worse(
            similarities[right], others[right], similarities[child], others[child]
        ):
            child = right
        if not _worse(similarities[child], others[child], similarity, other):
            break
        similarities[place], others[place] = similarities[child], others[child]
        place = child
    similarities[place], others[place] = similarity, other
    return count


def similarities(
    vectors: np.ndarray, bias: np.ndarray | None, left: np.ndarray, right: np.ndarray
) -> np.ndarray:
    """float32[m]: the similarity of rows `left` and `right` of float32[n, d] unit vectors, pair by pair."""
    found = _cosines(vectors, left, right)
    if bias is not None:
        found -= (bias[left] + bias[right]) / 2
    return found


@numba.njit(cache=True, nogil=True, fastmath=True)
def _cosines(vectors, left, right):
    result = np.empty(len(left), np.float32)
    for pair in range(len(left)):
        a, b = vectors[left[pair]], vectors[right[pair]]
        total = np.float32(0)
        for i in range(len(a)):
            total += a[i] * b[i]
        result[pair] = total
    return result


def strongest(
    face: np.ndarray, other: np.ndarray, similarity: np.ndarray, *, k: int, least: float
) -> Directed:
    """The up to `k` best neighbours of each face with `similarity` ≥ `least`; a pair named twice counts once.

    Of equals the first by number is taken.
    """
    keep = similarity >= least
    face, other, similarity = face[keep], other[keep], similarity[keep]
    if not len(face) or k < 1:
        return Directed(face[:0], other[:0], similarity[:0])
    first = int(face.min())
    ends = np.cumsum(np.bincount(face - first))
    others, values = _by_face(face - first, other, similarity, np.concatenate([[0], ends[:-1]]))
    counts = _select(ends, others, values, k)
    starts = np.concatenate([[0], ends[:-1]])
    kept = np.arange(len(others)) - np.repeat(starts, ends - starts) < np.repeat(counts, ends - starts)
    named = np.repeat(np.arange(first, first + len(ends), dtype=np.int32), counts)
    return Directed(named, others[kept], values[kept])


@numba.njit(cache=True, nogil=True)
def _by_face(face, other, similarity, starts):
    """The others and similarities, one face after another."""
    place = starts.copy()
    others, values = np.empty_like(other), np.empty_like(similarity)
    for edge in range(len(face)):
        at = place[face[edge]]
        others[at], values[at] = other[edge], similarity[edge]
        place[face[edge]] += 1
    return others, values


@numba.njit(cache=True, nogil=True)
def _select(ends, others, values, k):
    """Puts each face's best to the front of its part, in order; returns how many these are."""
    counts = np.zeros(len(ends), np.int64)
    heap_value, heap_other = np.empty(k, np.float32), np.empty(k, np.int32)
    start = 0
    for face in range(len(ends)):
        end = ends[face]
        order = np.argsort(others[start:end])
        count, before = 0, -1
        for at in order:
            other = others[start + at]
            if other != before:
                count = _push(heap_value, heap_other, count, values[start + at], other)
            before = other
        counts[face] = count
        # The worst comes out first.
        for place in range(count - 1, -1, -1):
            values[start + place], others[start + place] = heap_value[0], heap_other[0]
            _drop_top(heap_value, heap_other, place)
        start = end
    return counts


@numba.njit(cache=True, nogil=True)
def _drop_top(similarities, others, last):
    """Takes the worst off a heap of last + 1."""
    similarity, other = similarities[last], others[last]
    place = 0
    while True:
        child = 2 * place + 1
        if child >= last:
            break
        right = child + 1
        if right < last and _worse(similarities[right], others[right], similarities[child], others[child]):
            child = right
        if not _worse(similarities[child], others[child], similarity, other):
            break
        similarities[place], others[place] = similarities[child], others[child]
        place = child
    similarities[place], others[place] = similarity, other
