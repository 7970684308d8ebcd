"""Neighbours beyond bursts: near-identical shots don't fill a face's list of neighbours.

A face in a burst of more shots than a list holds would have no other neighbours, and a person filmed or
photographed in time-lapse would fall apart into bursts. Where all that a face found is near-identical to
it, only a share of that is kept; one shot of the burst then looks further, past the others, and those
are joined to it. Where bursts are alike as well, this goes on among the shots that looked further.
"""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np

from transforms.blocked_search import Directed, search, strongest
from transforms.probe_search import neighbours_among

# Shots of one burst are this much alike and more; two photos of one person hardly ever are.
BURST = 0.93
# So many neighbours in its own burst are enough for a face.
_SHARE = 16
# Each round leaves one shot of some eighty.
_ROUNDS = 5


def search_past_bursts(
    vectors: np.ndarray, k: int, *, least: float, bias: np.ndarray | None = None, threads: int = 1
) -> Directed:
    """As `blocked_search.search`, past bursts; who looks further may name more than `k`."""
    found = search(vectors, k, least=least, bias=bias, threads=threads)

    def again(rows: np.ndarray, base: np.ndarray) -> Directed:
        return neighbours_among(vectors, rows, k, least=least, bias=bias, base=base, threads=threads)

    return past_bursts(found, len(vectors), k, bias=bias, again=again)


def past_bursts(
    found: Directed, faces: int, k: int, *, bias: np.ndarray | None,
    again: Callable[[np.ndarray, np.ndarray], Directed],
) -> Directed:  # fmt: skip
    """`found` neighbours, up to `k` a face, with what lies past bursts; `again` finds those of int64[m] faces
    among int64[b] others. `faces` are there in all, with `bias` float32[faces]."""
    base, kept = np.ones(faces, bool), []
    numbers = np.arange(faces)
    for _ in range(_ROUNDS):
        crowded = _crowded(found, faces, k, bias)
        if not crowded.any() or int(base.sum()) <= k + 1:
            break
        within = crowded[found.face]
        leader = first_of_burst(faces, found.face[within], found.other[within])
        begins = np.searchsorted(found.face, found.face)
        kept.append(_chosen(found, ~within | (np.arange(len(found.face)) - begins < _SHARE)))
        # The other way round, so that no shot's list is filled by those that follow it.
        led = _chosen(
            found, within & (leader[found.other] == found.face) & (leader[found.face] == found.face)
        )
        kept.append(Directed(led.other, led.face, led.similarity))
        base &= leader == numbers
        found = again(np.flatnonzero(crowded & base), np.flatnonzero(base))
    if not kept:
        return found
    kept.append(found)
    columns = (
        np.concatenate([getattr(part, name) for part in kept]) for name in ("face", "other", "similarity")
    )
    return strongest(*columns, k=k + _ROUNDS * (_SHARE + 1), least=-np.inf)


def _crowded(found: Directed, faces: int, k: int, bias: np.ndarray | None) -> np.ndarray:
    """bool[n]: whose `k` neighbours are near-identical, all of them."""
    full = np.bincount(found.face, minlength=faces) >= k
    if not full.any():
        return full
    listed = np.flatnonzero(full[found.face])
    cosine = found.similarity[listed]
    if bias is not None:
        cosine = cosine + (bias[found.face[listed]] + bias[found.other[listed]]) / 2
    least = np.full(faces, np.inf, np.float32)
    starts = np.flatnonzero(np.append(True, np.diff(found.face[listed]) != 0))
    least[found.face[listed[starts]]] = np.minimum.reduceat(cosine, starts)
    return full & (least >= BURST)


def _chosen(found: Directed, which: np.ndarray) -> Directed:
    return Directed(found.face[which], found.other[which], found.similarity[which])


@numba.njit(cache=True, nogil=True)
def first_of_burst(faces, left, right):
    """int64[n]: for each of so many faces the one that stands for it, itself for most. They are gone through
    in order; one that no burst holds yet begins one with its neighbours: edges int[m] `left`, ascending, to
    `right`."""
    leader = np.full(faces, -1, np.int64)
    edge = 0
    for face in range(faces):
        begins = leader[face] < 0
        if begins:
            leader[face] = face
        while edge < len(left) and left[edge] == face:
            if begins and leader[right[edge]] < 0:
                leader[right[edge]] = face
            edge += 1
    return leader
