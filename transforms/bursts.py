"""Bursts: near-identical shots of a face count once.

Ten shots of one smile, or a film of thousands, would fill each other's lists of neighbours, so that nobody
else is found, and would outweigh everything else that shows the person. So the first shot stands for the
others: it alone has neighbours beyond the burst, and is others' neighbour. Each of the others has one edge,
to the one that stands for it. Where groups are looked for a burst is one node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numba
import numpy as np

from transforms.blocked_search import Directed, search, strongest
from transforms.component_groups import joined_by
from transforms.edge_files import edge_slices
from transforms.neighbours import NeighbourGraph, cosines
from transforms.probe_search import neighbours_among

# Shots of one burst are this much alike and more; two photos of one person hardly ever are.
BURST = 0.93
# A film of near-identical shots is seen past after a few rounds, each of which leaves one shot of some fifty.
_ROUNDS = 16


def search_past_bursts(
    vectors: np.ndarray, k: int, *, least: float, bias: np.ndarray | None = None, threads: int = 1
) -> tuple[Directed, np.ndarray]:
    """As `blocked_search.search`, with bursts collapsed; and bool[n] which faces stand for themselves."""
    found = search(vectors, k, least=least, bias=bias, threads=threads)

    def again(rows: np.ndarray, base: np.ndarray) -> Directed:
        return neighbours_among(vectors, rows, k, least=least, bias=bias, base=base, threads=threads)

    return past_bursts(found, np.ones(len(vectors), bool), k, bias=bias, again=again)


def past_bursts(
    found: Directed, base: np.ndarray, k: int, *, bias: np.ndarray | None,
    again: Callable[[np.ndarray, np.ndarray], Directed],
) -> tuple[Directed, np.ndarray]:  # fmt: skip
    """`found` neighbours, up to `k` a face, among those in `base` bool[n], with their bursts collapsed; and
    bool[n] which of `base` stand for themselves then.

    Who stands has the `k` nearest others that do: `again` finds those of int64[m] faces among int64[b]
    others. Everyone else in a burst has an edge to the one that stands for them. `bias` float32[n].
    """
    stands, kept = base.copy(), []
    numbers = np.arange(len(base))
    for _ in range(_ROUNDS):
        near = stands[found.face] & (cosines(found.face, found.other, found.similarity, bias) >= BURST)
        if not near.any():
            break
        pairs = _both_ways(_chosen(found, near))
        first = first_of_burst(len(base), pairs.face, pairs.other)
        kept.append(_chosen(pairs, first[pairs.face] == pairs.other))
        stands &= first == numbers
        gone = base & ~stands
        left = ~(gone[found.face] | gone[found.other])
        full = np.bincount(found.face, minlength=len(base)) >= k
        fewer = full & (np.bincount(found.face[left], minlength=len(base)) < k) & ~gone
        rest = _chosen(found, left & ~fewer[found.face])
        found = _together([rest, again(np.flatnonzero(fewer), np.flatnonzero(stands))])
    return strongest(*_columns(_together([*kept, found])), k=k, least=-np.inf), stands


def bursts_of(graph: NeighbourGraph, bias: np.ndarray) -> np.ndarray:
    """int32[n]: for each face the first of those that near-identical ones join to it, itself for most.
    `bias` float32[n] as in the graph's similarities. Arrays of `graph` may lie in files."""

    def near() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for left, right, similarity in edge_slices(graph):
            chosen = cosines(left, right, similarity, bias) >= BURST
            yield left[chosen], right[chosen]

    return joined_by(graph.faces, near())


def _both_ways(pairs: Directed) -> Directed:
    """Each pair in both directions, in order."""
    face = np.concatenate([pairs.face, pairs.other])
    other = np.concatenate([pairs.other, pairs.face])
    order = np.lexsort((other, face))
    return Directed(face[order], other[order], np.tile(pairs.similarity, 2)[order])


def _together(parts: list[Directed]) -> Directed:
    face, other, similarity = (np.concatenate(column) for column in zip(*map(_columns, parts), strict=True))
    return Directed(face, other, similarity)


def _columns(found: Directed) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return found.face, found.other, found.similarity


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
