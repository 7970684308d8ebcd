"""Faces that are in no group attach to the person that they clearly fit, or stay ungrouped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from transforms.edge_files import edge_slices
from transforms.merging import group_means, row_products
from transforms.neighbours import NEIGHBOURS, NeighbourGraph

if TYPE_CHECKING:
    from transforms.probe_search import Cells

# By so much a face must be nearer to its person than to the runner-up.
MARGIN = 0.05
CLOSEST = 3
ATTACH_NEIGHBOURS = 40
# What lies this far below the threshold doesn't decide to whom a face attaches.
FAR = 0.25
# So many faces ask at a time who else they may be; where people are more than a few, in their nearest cells.
_TOGETHER, _FEW_PEOPLE, _PEOPLE_IN_CELL, _PEOPLE_PROBES = 65_536, 20_000, 500, 24


@dataclass(frozen=True)
class LooseNeighbours:
    """Pairs of an ungrouped face and a grouped one: int[m] `loose`, `core`, float32[m] `similarity`;
    `unlisted` float32[n], how alike a grouped face that is in no pair with it may be to each face; `shots`
    int64[n], for how many near-identical faces of its group a grouped one stands."""

    loose: np.ndarray
    core: np.ndarray
    similarity: np.ndarray
    unlisted: np.ndarray
    shots: np.ndarray


def loose_neighbours(
    vectors: np.ndarray, bias: np.ndarray | None, group: np.ndarray, graph: NeighbourGraph | None = None, *,
    among: np.ndarray | None = None, least: float = -2.0, burst: np.ndarray | None = None,
) -> LooseNeighbours:  # fmt: skip
    """The grouped faces nearest to each ungrouped one: the edges of `graph`, or else all are compared, of
    the ungrouped ones those `among` bool[n], down to a similarity of `least`. Of a person's faces with the
    same number in `burst` int[n] the first stands for all."""
    stands_for = _first_shot(group, np.arange(len(group)) if burst is None else burst)
    shots = np.bincount(stands_for[stands_for >= 0], minlength=len(group))
    if graph is None:
        loose = np.flatnonzero((group < 0) & (True if among is None else among))
        from transforms.probe_search import neighbours_among  # on use: compiles

        core = np.flatnonzero(shots)
        found = neighbours_among(vectors, loose, ATTACH_NEIGHBOURS, least=least, bias=bias, base=core)
        unlisted = _unlisted(len(group), found.face, found.similarity, ATTACH_NEIGHBOURS, least)
        return LooseNeighbours(found.face, found.other, found.similarity, unlisted, shots)
    asking = (group < 0) & (True if among is None else among)
    parts = [(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32))]
    lowest = 1.0
    for left, right, similarity in edge_slices(graph):
        lowest = min(lowest, float(similarity.min()))
        parts += [
            (a[mine], b[mine], similarity[mine])
            for a, b in ((left, right), (right, left))
            for mine in [asking[a]]
        ]
    face, other, similarity = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.lexsort((-similarity, face))
    face, other, similarity = face[order], other[order], similarity[order]
    unlisted = _unlisted(len(group), face, similarity, NEIGHBOURS, lowest)
    grouped = np.flatnonzero(group[other] >= 0)
    # Who stands for several may be listed through several of them, the nearest of whom speaks.
    pair = face[grouped].astype(np.int64) * len(group) + stands_for[other[grouped]]
    kept = grouped[np.sort(np.unique(pair, return_index=True)[1])]
    return LooseNeighbours(face[kept], stands_for[other[kept]], similarity[kept], unlisted, shots)


def _first_shot(group: np.ndarray, burst: np.ndarray) -> np.ndarray:
    """int64[n]: for each grouped face the first of its group in its burst, -1 for the others."""
    result = np.full(len(group), -1)
    grouped = np.flatnonzero(group >= 0)
    look = group[grouped] * len(group) + burst[grouped]
    _, first, inverse = np.unique(look, return_index=True, return_inverse=True)
    result[grouped] = grouped[first[inverse]]
    return result


def _unlisted(faces: int, face: np.ndarray, similarity: np.ndarray, k: int, least: float) -> np.ndarray:
    """float32[n]: `least`, or the k-th of a face's neighbours, given by face and the most alike first."""
    result = np.full(faces, least, np.float32)
    begins = np.flatnonzero(np.append(True, np.diff(face) != 0)) if len(face) else np.zeros(0, np.int64)
    full = begins[np.diff(np.append(begins, len(face))) >= k]
    result[face[full]] = similarity[full + k - 1]
    return result


def attach(
    vectors: np.ndarray, group: np.ndarray, photo: np.ndarray, near: LooseNeighbours | None = None, *,
    threshold: float, margin: float = MARGIN, threads: int = 1,
) -> np.ndarray:  # fmt: skip
    """int64[n]: `group` with ungrouped faces put to the person that they clearly fit.

    A face fits a person as well as the mean similarity to its closest three faces, shots of a burst being as
    close as the first of them. It attaches when that reaches `threshold`, no other person comes within
    `margin`, and the person is not in the face's photo already; of two faces of one photo the better fit
    goes first.
    """
    result = group.copy()
    near = loose_neighbours(vectors, None, group) if near is None else near
    if not len(near.loose):
        return result
    loose, best, fit, second, alone = _best_people(near, group)
    # Who sees one person alone among the neighbours may have a runner-up beyond them.
    unseen = np.flatnonzero(alone & (fit >= threshold) & (near.unlisted[loose] > fit - margin))
    second[unseen] = fit[unseen] - _lead(vectors, group, loose[unseen], best[unseen], threads)
    fits = np.flatnonzero((fit >= threshold) & (fit - second >= margin))
    fits = fits[np.lexsort((loose[fits], -fit[fits]))]
    places = int(photo.max(initial=0)) + 1
    core = np.flatnonzero(group >= 0)
    taken = group[core] * places + photo[core]
    wanted = best[fits] * places + photo[loose[fits]]
    first = np.zeros(len(fits), bool)
    first[np.unique(wanted, return_index=True)[1]] = True
    fits = fits[first & ~np.isin(wanted, taken)]
    result[loose[fits]] = best[fits]
    return result


def _best_people(
    near: LooseNeighbours, group: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The person that each loose face's neighbours speak for: (face, person, its fit, the runner-up's,
    whether there is none).

    Of a person's closest faces those that are not listed count as alike as they may be at most.
    """
    face, person, value = near.loose, group[near.core], near.similarity
    order = np.lexsort((-value, person, face))
    face, person, value, shots = face[order], person[order], value[order], near.shots[near.core[order]]
    starts = np.flatnonzero(np.append(True, (np.diff(face) != 0) | (np.diff(person) != 0)))
    before = np.cumsum(shots) - shots
    before -= np.repeat(before[starts], np.diff(np.append(starts, len(face))))
    closest = np.clip(CLOSEST - before, 0, shots)
    counted = np.minimum(np.bincount(group[group >= 0])[person[starts]], CLOSEST)
    missing = counted - np.add.reduceat(closest, starts)
    unlisted = np.minimum(near.unlisted[face[starts]], value[starts])
    fits = (np.add.reduceat(closest * value, starts) + missing * unlisted) / counted
    face, person = face[starts], person[starts]
    order = np.lexsort((-person, -fits, face))
    face, person, fits = face[order], person[order], fits[order]
    first = np.flatnonzero(np.append(True, np.diff(face) != 0))
    after = np.minimum(first + 1, len(face) - 1)
    seen = (after > first) & (face[after] == face[first])
    return face[first], person[first], fits[first], np.where(seen, fits[after], -1.0), ~seen


def _lead(
    vectors: np.ndarray, group: np.ndarray, faces: np.ndarray, person: np.ndarray, threads: int = 1
) -> np.ndarray:
    """float32[m]: by how much each face is nearer to the mean of its person than to any other's."""
    from transforms.probe_search import neighbours_among  # on use: compiles

    means = group_means(vectors, group)
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    people, cells = np.arange(len(means)), _cells_of_people(means)
    lead = row_products(vectors, faces, means, person)
    runner_up = np.full(len(faces), -2, np.float32)
    # One table for both, so that no face's vector is copied more than once.
    table = np.concatenate([means, np.empty((min(len(faces), _TOGETHER), means.shape[1]), np.float32)])
    for start in range(0, len(faces), _TOGETHER):
        rows = np.arange(start, min(start + _TOGETHER, len(faces)))
        table[len(means) : len(means) + len(rows)] = vectors[faces[rows]]
        asking = len(means) + np.arange(len(rows))
        near = neighbours_among(table, asking, 2, least=-2, base=people, cells=cells, threads=threads)
        row = start + near.face - len(means)
        others = near.other != person[row]
        np.maximum.at(runner_up, row[others], near.similarity[others])
    return lead - runner_up


def _cells_of_people(means: np.ndarray) -> Cells | None:
    """Where to look for the people like someone, None where they are few enough to compare all. float32[p, d]
    unit `means`."""
    if len(means) <= _FEW_PEOPLE:
        return None
    from transforms.probe_search import Cells

    return Cells.planned(
        means, usual=_PEOPLE_IN_CELL, most=4 * _PEOPLE_IN_CELL, probes=_PEOPLE_PROBES, seed=0
    )
