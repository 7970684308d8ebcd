"""Bursts: near-identical shots of a face count once.

Ten shots of one smile, or a film of thousands, would fill each other's lists of neighbours, so that nobody
else is found, and would outweigh everything else that shows the person. So the first shot stands for the
others: it alone has neighbours beyond the burst, and is others' neighbour. Each of the others has one edge,
to the one that stands for it. Where groups are looked for a burst is one node.

Most shots of a burst are found before all faces are compared, from a small part of all pairs: where half of
the faces are shots, as in many a family's archive, that leaves a quarter of the pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numba
import numpy as np
import torch

from transforms.best_neighbours import Format
from transforms.blocked_search import cosine, in_threads, product_format, search, similarities
from transforms.component_groups import joined_by
from transforms.edge_files import edge_slices
from transforms.edge_lists import Directed, strongest
from transforms.neighbours import NeighbourGraph, cosines
from transforms.probe_search import neighbours_among

# Shots of one burst are this much alike and more; two photos of one person hardly ever are.
BURST = 0.93
# A film of near-identical shots is seen past after a few rounds, each of which leaves one shot of some fifty.
_ROUNDS = 16
# To collapse bursts faces are laid out by the nearest of every 64th of them, and compared with those beside
# them; several times, with others to go by, while that finds one in so many. Few are compared as quickly.
_GUIDED, _BESIDE, _GOES, _WORTH, _FEW = 64, 128, 4, 0.05, 1024
# So many faces, and products with guides, at a time.
_SLICE, _ROOM = 8192, 1 << 23
# Lists are so much longer at first, since some in them will turn out to be in bursts.
MORE = 8


def collapse_bursts(vectors: np.ndarray, *, threads: int = 1) -> np.ndarray:
    """int64[n]: whom each face follows, itself for most: one before it that is `BURST` alike or more, and
    may follow another in turn. Most bursts are found, not all.

    `vectors` float32[n, d] of unit length; each is compared with a 64th of all, and some hundreds more. The
    same whatever the number of threads.
    """
    leader = np.arange(len(vectors))
    if len(vectors) <= _FEW:
        return leader
    form = product_format()
    vectors = np.require(vectors, np.float32, ["C", "W"])  # torch warns of what it may not write
    table = torch.from_numpy(vectors).to(form.dtype)
    with in_threads(threads) as each:
        for go in range(_GOES):
            alone = np.flatnonzero(leader == np.arange(len(vectors)))
            if len(alone) <= _FEW:
                break
            guides = table[torch.from_numpy(alone[go * _GUIDED // _GOES :: _GUIDED])].T
            step = max(_BESIDE, min(_SLICE, _ROOM // guides.shape[1]))
            found = each(partial(_most_alike, table, guides), _slices(alone, step))
            similarity, guide = (torch.cat(column).float().numpy() for column in zip(*found, strict=True))
            # Shots of a burst are about as near to their guide, too.
            laid = _in_rows(alone[np.lexsort((similarity, guide))], _BESIDE)
            list(each(partial(_follow_first, vectors, table, form, leader), _slices(laid, _SLICE // _BESIDE)))
            if np.count_nonzero(leader[alone] != alone) < _WORTH * len(alone):
                break
    return leader


def _slices(rows: np.ndarray, step: int) -> Iterator[np.ndarray]:
    """So many of `rows` at a time."""
    yield from (rows[start : start + step] for start in range(0, len(rows), step))


def _in_rows(faces: np.ndarray, width: int) -> np.ndarray:
    """int64[m, width]: `faces` int64[n] row by row, each ascending, the last one after some -1."""
    rows = np.full((-(-len(faces) // width), width), -1)
    rows.ravel()[: len(faces)] = faces
    return np.sort(rows, axis=1)


def _most_alike(
    table: torch.Tensor, guides: torch.Tensor, rows: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor]:
    """How alike each of the faces int64[n] `rows` is to the nearest of [d, g] `guides`, and which that is."""
    similarity, guide = torch.mm(table[torch.from_numpy(rows)], guides).max(dim=1)
    return similarity, guide


def _follow_first(
    vectors: np.ndarray, table: torch.Tensor, form: Format, leader: np.ndarray, rows: np.ndarray
) -> None:
    """Notes in int64[n] `leader` whom the faces of each of int64[m, w] `rows` follow there. `table` holds the
    `vectors` as they are multiplied."""
    chosen = table[torch.from_numpy(np.maximum(rows, 0).ravel())].view(*rows.shape, -1)
    near = torch.bmm(chosen, chosen.transpose(1, 2)) >= BURST - form.margin
    _follow(vectors, rows, near.numpy(), np.float32(BURST), leader)


@numba.njit(cache=True, nogil=True)
def _follow(vectors, rows, near, least, leader):
    """Each row's faces are gone through in order; one that follows nobody is followed by those after it that
    are alike and follow nobody. bool[m, w, w] `near` says which may be."""
    for row in range(len(rows)):
        faces = rows[row]
        for i in range(len(faces)):
            face = faces[i]
            if face < 0 or leader[face] != face:
                continue
            for j in range(i + 1, len(faces)):
                other = faces[j]
                alike = near[row, i, j] and leader[other] == other
                if alike and cosine(vectors[face], vectors[other]) >= least:
                    leader[other] = face


def followed(vectors: np.ndarray, leader: np.ndarray, bias: np.ndarray | None) -> Directed:
    """The edges of those who follow another face, given by int64[n] `leader`."""
    follower = np.flatnonzero(leader != np.arange(len(leader)))
    whom = leader[follower]
    alike = similarities(vectors, bias, follower, whom)
    return Directed(follower.astype(np.int32), whom.astype(np.int32), alike)


def search_past_bursts(
    vectors: np.ndarray, k: int, *, least: float, bias: np.ndarray | None = None, threads: int = 1
) -> tuple[Directed, np.ndarray]:
    """As `blocked_search.search`, with bursts collapsed; and bool[n] which faces stand for themselves.
    Quick where few bursts are left (`collapse_bursts`)."""
    found = search(vectors, k + MORE, least=least, bias=bias, threads=threads)

    def again(rows: np.ndarray, base: np.ndarray) -> Directed:
        return neighbours_among(vectors, rows, k, least=least, bias=bias, base=base, threads=threads)

    return past_bursts(found, np.ones(len(vectors), bool), k, held=k + MORE, bias=bias, again=again)


def past_bursts(
    found: Directed, base: np.ndarray, k: int, *, held: int, bias: np.ndarray | None,
    again: Callable[[np.ndarray, np.ndarray], Directed],
) -> tuple[Directed, np.ndarray]:  # fmt: skip
    """`found` neighbours, up to `held` a face, among those in `base` bool[n], with their bursts collapsed and
    up to `k` of them left; and bool[n] which of `base` stand for themselves then.

    Who stands has the `k` nearest others that do: `again` finds those of int64[m] faces among int64[b]
    others. Everyone else in a burst has an edge to the one that stands for them. `bias` float32[n].
    """
    stands, kept = base.copy(), []
    numbers = np.arange(len(base))
    for _ in range(_ROUNDS):
        near = stands[found.face] & (cosines(found.face, found.other, found.similarity, bias) >= BURST)
        if not near.any():
            break
        pairs = _both_ways(found.where(near))
        first = first_of_burst(len(base), pairs.face, pairs.other)
        kept.append(pairs.where(first[pairs.face] == pairs.other))
        stands &= first == numbers
        gone = base & ~stands
        left = ~(gone[found.face] | gone[found.other])
        full = np.bincount(found.face, minlength=len(base)) >= held
        fewer = full & (np.bincount(found.face[left], minlength=len(base)) < k) & ~gone
        rest = found.where(left & ~fewer[found.face])
        found = Directed.together([rest, again(np.flatnonzero(fewer), np.flatnonzero(stands))])
        held = k
    return strongest(*Directed.together([*kept, found]).columns(), k=k, least=-np.inf), stands


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
    both = Directed.together([pairs, Directed(pairs.other, pairs.face, pairs.similarity)])
    return both.where(np.lexsort((both.other, both.face)))


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
