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

_ROWS, _COLUMNS = 512, 4096
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


@dataclass(frozen=True)
class Table:
    """Vectors as they are multiplied: `left(a) @ right(b).T` holds the similarities of rows a and b.

    With biases the numbers of a `vectors` row are followed by 1 and minus half of its bias, which are
    swapped on the left.
    """

    rows: torch.Tensor
    swapped: int | None = None

    @classmethod
    def of(cls, vectors: np.ndarray, bias: np.ndarray | None, form: Format) -> Table:
        """Of float32[n, d] unit `vectors` and perhaps float32[n] `bias`."""
        if bias is None:
            return cls(torch.from_numpy(vectors).to(form.dtype))
        count, dimensions = vectors.shape
        rows = torch.zeros((count, -(-(dimensions + 2) // _STEP) * _STEP), dtype=form.dtype)
        rows[:, :dimensions] = torch.from_numpy(vectors)
        rows[:, dimensions] = 1
        rows[:, dimensions + 1] = torch.from_numpy(bias) * -0.5
        return cls(rows, dimensions)

    def left(self, which: slice | torch.Tensor) -> torch.Tensor:
        """Rows for the left side of a product."""
        rows = self.rows[which]
        if self.swapped is not None:
            ends = [self.swapped + 1, self.swapped]
            rows = rows.clone()
            rows[:, ends[::-1]] = rows[:, ends]
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
    best = Best(count, min(k, max(count - 1, 0)) + form.slack, form.keys)
    if count > 1 and k > 0:
        table = Table.of(vectors, bias, form)
        bar = least - form.margin

        def judge(row: int) -> None:
            left = table.left(slice(row, row + _ROWS))
            for column in range(0, count, _COLUMNS):
                block = _ordered(torch.mm(left, table.right(slice(column, column + _COLUMNS)).T), form, bar)
                _keep_best(block, row, column, _key(bar, form), best.worth, best.other, best.count)

        if threads == 1:
            for row in range(0, count, _ROWS):
                judge(row)
        else:
            # torch keeps the number of threads for each thread anew.
            with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                list(pool.map(judge, range(0, count, _ROWS)))
    face, other = best.pairs()
    return strongest(face, other, similarities(vectors, bias, face, other), k=k, least=least)


def product_format(bfloat16: bool | None = None) -> Format:
    """The number format asked for; by default the one in which the processor multiplies best."""
    from models.engine import cpu_has_bfloat16

    native = cpu_has_bfloat16() if bfloat16 is None else bfloat16
    return _BFLOAT16 if native else _FLOAT32


class Best:
    """For each face a heap of its best neighbours so far, the worst of them on top; `worth` are similarities,
    or numbers in their order."""

    def __init__(self, faces: int, capacity: int, kind: type[np.number] = np.float32) -> None:
        self.worth = np.empty((faces, max(capacity, 1)), kind)
        self.other = np.empty((faces, max(capacity, 1)), np.int32)
        self.count = np.zeros(faces, np.int32)

    def offer(self, faces: np.ndarray, others: np.ndarray, similarity: np.ndarray) -> None:
        """Offers the faces int[m] their neighbours int[m]."""
        _offer(faces, others, similarity, self.worth, self.other, self.count)

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """(int32[m] faces, int32[m] their neighbours), faces in order."""
        inside = np.arange(self.other.shape[1]) < self.count[:, None]
        return np.repeat(np.arange(len(self.count), dtype=np.int32), self.count), self.other[inside]


def _ordered(block: torch.Tensor, form: Format, bar: float) -> np.ndarray:
    """The bits of similarities as whole numbers, of which several can be compared at a time, and which are
    in the same order: those of negative ones are not of themselves, but matter only for a `bar` below 0."""
    bits = block.view(form.bits).numpy()
    return bits if bar > 0 else np.where(bits < 0, bits ^ np.iinfo(bits.dtype).max, bits)


def _key(similarity: float, form: Format) -> np.integer:
    """The whole number that stands for a similarity."""
    bits = _ordered(torch.tensor([[similarity]]).to(form.dtype), form, similarity)
    return bits[0, 0]


def reaching_pairs(
    left: torch.Tensor, right: torch.Tensor, form: Format, bar: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which rows of `left` and of `right` have a product of `bar` and more: int32[m] each, float32[m]."""
    block = torch.mm(left, right.T)
    bits = _ordered(block, form, bar)
    positions = np.empty(bits.size, np.int32)
    positions = positions[: _reaching(bits, _key(bar, form), positions)].copy()
    similarity = block.reshape(-1)[torch.from_numpy(positions)].float().numpy()
    return positions // bits.shape[1], positions % bits.shape[1], similarity


@numba.njit(cache=True, nogil=True)
def _after(key, least):
    """The number after `key`, of the same kind, `least` at least."""
    return max(least, type(least)(key + 1))


@numba.njit(cache=True, nogil=True)
def _keep_best(bits, first_row, first_column, least, keys, others, count):
    """Offers the faces of each row of int[n, m] `bits`, ascending, to that row's heap, from `least` on."""
    capacity = others.shape[1]
    columns = bits.shape[1]
    for i in range(bits.shape[0]):
        face = first_row + i
        held = count[face]
        # Of equals the first is there already.
        bar = least if held < capacity else _after(keys[face, 0], least)
        for start in range(0, columns, _RUN):
            if start + _RUN <= columns:
                # So many at a time, known to the compiler, are a few instructions; hardly any run has a hit.
                run, hit = bits[i, start : start + _RUN], np.int16(0)
                for j in range(_RUN):
                    hit |= np.int16(run[j] >= bar)
                if not hit:
                    continue
            for j in range(start, min(start + _RUN, columns)):
                if bits[i, j] >= bar and first_column + j != face:
                    held = _push(keys[face], others[face], held, bits[i, j], first_column + j)
                    if held == capacity:
                        bar = _after(keys[face, 0], least)
        count[face] = held


@numba.njit(cache=True, nogil=True)
def _reaching(bits, least, positions):
    """Writes the flat positions of all elements of int[n, m] `bits` that reach `least`; returns how many."""
    found, flat = 0, bits.reshape(-1)
    whole = len(flat) - len(flat) % _RUN
    for start in range(0, whole, _RUN):
        # So many at a time, known to the compiler, are a few instructions; hardly any run has a hit.
        run, hit = flat[start : start + _RUN], np.int16(0)
        for j in range(_RUN):
            hit |= np.int16(run[j] >= least)
        if hit:
            for j in range(_RUN):
                if run[j] >= least:
                    positions[found] = start + j
                    found += 1
    for j in range(whole, len(flat)):
        if flat[j] >= least:
            positions[found] = j
            found += 1
    return found


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


@numba.njit(cache=True, nogil=True)
def _offer(faces, others, similarity, best_similarity, best_other, count):
    """Offers every pair to its first face."""
    for pair in range(len(faces)):
        i = faces[pair]
        count[i] = _push(best_similarity[i], best_other[i], count[i], similarity[pair], others[pair])


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
