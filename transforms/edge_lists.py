"""Edges as they are found and as they are kept, put in order by compiled code.

Of a face its best neighbours, of two faces one edge: millions of small lists, each sorted by itself, which
takes a third of the time that one sort of all takes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numba
import numpy as np

# All bits of a float32 but its sign: those of negative numbers run the other way.
_REST, _LOW = np.int32(0x7FFFFFFF), 0xFFFFFFFF


@dataclass(frozen=True)
class Directed:
    """Neighbours as they were found: int32[m] `face`, `other`, float32[m] `similarity`; sorted by face,
    the best first."""

    face: np.ndarray
    other: np.ndarray
    similarity: np.ndarray

    @classmethod
    def together(cls, parts: Iterable[Directed]) -> Directed:
        """All of them, in no order."""
        return cls(*map(np.concatenate, zip(*(part.columns() for part in parts), strict=True)))

    def columns(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.face, self.other, self.similarity

    def where(self, which: np.ndarray) -> Directed:
        """Those for which bool[m] `which` holds, or int[·] at those places."""
        return Directed(*(column[which] for column in self.columns()))

    def numbered(self, rows: np.ndarray) -> Directed:
        """What was found among the faces int64[n] `rows`, by their numbers among all."""
        return Directed(rows[self.face].astype(np.int32), rows[self.other].astype(np.int32), self.similarity)


def strongest(
    face: np.ndarray, other: np.ndarray, similarity: np.ndarray, *, k: int, least: float
) -> Directed:
    """The up to `k` best neighbours of each face with `similarity` ≥ `least`; a pair named twice, with the
    same similarity, counts once.

    Of equals the first by number is taken.
    """
    if not len(face) or k < 1:
        return Directed(face[:0], other[:0], similarity[:0])
    first = int(face.min())
    counts = np.zeros(int(face.max()) - first + 1, np.int64)
    packed = _by_face(face, other, similarity.view(np.int32), similarity >= least, first, counts)
    packed = packed[: _select(packed, counts, k, 0)]
    return Directed(_faces(first, counts), packed.astype(np.int32), _similarities(~(packed >> 32)))


def united(
    left: np.ndarray, right: np.ndarray, similarity: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each pair of faces, int32[m] `left` and `right`, once, with the most of its similarities float32[m].
    The first of both stands left, and pairs are in order of both.

    Memory: some numbers for each pair, and for each face from the least first one to the greatest.
    """
    if not len(left):
        return left, right, similarity
    firsts = np.minimum(left, right)
    first = int(firsts.min())
    counts = np.zeros(int(firsts.max()) - first + 1, np.int64)
    packed = _by_first(left, right, similarity.view(np.int32), first, counts)
    packed = packed[: _select(packed, counts, len(packed), 32)]
    return _faces(first, counts), (packed >> 32).astype(np.int32), _similarities(_REST - (packed & _LOW))


def _faces(first: int, counts: np.ndarray) -> np.ndarray:
    """int32[·]: each face from `first` on so many times."""
    return np.repeat(np.arange(first, first + len(counts), dtype=np.int32), counts)


def _similarities(ordered: np.ndarray) -> np.ndarray:
    """float32[m]: what whole numbers in the order of similarities stand for."""
    bits = ordered.astype(np.int32)
    return np.where(bits < 0, bits ^ _REST, bits).view(np.float32)


@numba.njit(cache=True, nogil=True)
def _ordered(bits):
    """The bits of a similarity as a whole number in the order of similarities."""
    return bits if bits >= 0 else bits ^ _REST


@numba.njit(cache=True, nogil=True)
def _by_face(face, other, bits, wanted, first, counts):
    """The wanted others, one face after another, each as a number that is the smaller the better it is;
    `counts` says how many these are for each face."""
    for edge in range(len(face)):
        counts[face[edge] - first] += wanted[edge]
    place = np.cumsum(counts) - counts
    packed = np.empty(counts.sum(), np.int64)
    for edge in range(len(face)):
        if wanted[edge]:
            at = face[edge] - first
            packed[place[at]] = (~np.int64(_ordered(bits[edge])) << 32) | other[edge]
            place[at] += 1
    return packed


@numba.njit(cache=True, nogil=True)
def _by_first(left, right, bits, first, counts):
    """The second faces of pairs, one first face after another, each as a number that goes by the face, and is
    the smaller the more alike both are; `counts` says how many these are for each face."""
    for edge in range(len(left)):
        counts[min(left[edge], right[edge]) - first] += 1
    place = np.cumsum(counts) - counts
    packed = np.empty(len(left), np.int64)
    for edge in range(len(left)):
        at = min(left[edge], right[edge]) - first
        second = np.int64(max(left[edge], right[edge]))
        packed[place[at]] = second << 32 | np.int64(_REST) - _ordered(bits[edge])
        place[at] += 1
    return packed


@numba.njit(cache=True, nogil=True)
def _select(packed, counts, k, shift):
    """Brings each face's smallest `k` numbers to the front, one face after another; of those that differ in
    their last `shift` bits alone the first. `counts` says how many are left then; returns how many in all."""
    start = end = 0
    for face in range(len(counts)):
        mine = packed[start : start + counts[face]]
        start += counts[face]
        mine.sort()
        before, begin = -1, end
        for number in mine:
            if number >> shift != before:
                packed[end], before = number, number >> shift
                end += 1
                if end - begin == k:
                    break
        counts[face] = end - begin
    return end
