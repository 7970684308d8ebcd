"""People of a library too large to hold in memory: the rules of `transforms.people` on a graph in files.

The graph joins all faces, clear and weak, at and a little below the threshold. Clear faces form groups
along its strong edges; what stands alone attaches along the others. Vectors are read a group at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from transforms import people
from transforms.component_groups import group_by_component
from transforms.constraints import Constraints
from transforms.enforcement import enforce, freed_photos, guided_by
from transforms.grouping import renumbered
from transforms.neighbours import NeighbourGraph
from transforms.people import ATTACHED, CORE, IDENTICAL, UNGROUPED, Assignment
from transforms.vector_file import VectorFile

# How far below the threshold the graph has to reach: as far as a runner-up matters.
ATTACH_MARGIN = 0.05
_CLOSEST = 3
_SLICE = 8_000_000
_BAND_FACES = 100_000


@dataclass(frozen=True)
class Graded:
    """All faces of a library in order of face_id, without their vectors: `weak` bool[n], `photo` int[n]."""

    weak: np.ndarray
    photo: np.ndarray


def assign_by_graph(
    vectors: VectorFile, faces: Graded, graph: NeighbourGraph, *, method: str, threshold: float, seed: int,
    constraints: Constraints = Constraints(),
) -> Assignment:  # fmt: skip
    """Groups faces by person, keeping the `constraints`, as `people.assign` does, given their neighbours.

    `graph` joins faces with a similarity of at least `threshold` - `ATTACH_MARGIN`; its arrays may lie
    in files. What is no face at all has no neighbours.
    """
    faces = Graded(faces.weak, freed_photos(faces.photo, constraints))
    absent = np.zeros(graph.faces, bool)
    absent[constraints.absent] = True
    strong = _filtered(graph, lambda part: _between_clear(part, faces, absent, threshold))
    strong = guided_by(strong, constraints.among(np.flatnonzero(~faces.weak & ~absent)))
    labels = group_by_component(vectors.take, strong, method=method, threshold=threshold, seed=seed)
    labels = one_face_a_photo(vectors, labels, faces.photo)
    counts = np.bincount(labels, minlength=len(labels))
    kept = counts >= 2
    keep = partial(
        enforce, vectors=vectors.mapped(), photo=faces.photo, constraints=constraints, threshold=threshold,
        identical=IDENTICAL,
    )  # fmt: skip
    group = keep(np.where(kept, np.cumsum(kept) - 1, -1)[labels])
    near = _filtered(graph, lambda part: _between_loose_and_grouped(part, group, absent))
    attached = keep(attach(near, group, faces.photo, threshold=threshold))
    role = np.where(attached < 0, UNGROUPED, np.where(group >= 0, CORE, ATTACHED)).astype(object)
    return Assignment(attached, role, confidence(vectors, attached, threshold))


def _between_clear(part: NeighbourGraph, faces: Graded, absent: np.ndarray, threshold: float) -> np.ndarray:
    out = faces.weak | absent
    clear = ~(out[part.left] | out[part.right])
    same_photo = faces.photo[part.left] == faces.photo[part.right]
    return clear & (part.similarity >= threshold) & (~same_photo | (part.similarity >= IDENTICAL))


def _between_loose_and_grouped(part: NeighbourGraph, group: np.ndarray, absent: np.ndarray) -> np.ndarray:
    present = ~(absent[part.left] | absent[part.right])
    return present & ((group[part.left] >= 0) != (group[part.right] >= 0))


def _filtered(graph: NeighbourGraph, wanted) -> NeighbourGraph:
    """The edges that bool[·] `wanted` of a slice keeps, slice by slice."""
    parts = []
    for start in range(0, max(len(graph.left), 1), _SLICE):
        piece = slice(start, start + _SLICE)
        part = NeighbourGraph(
            graph.faces, *(np.asarray(a[piece]) for a in (graph.left, graph.right, graph.similarity))
        )
        parts.append(part.filter(wanted(part)))
    columns = (np.concatenate([getattr(p, n) for p in parts]) for n in ("left", "right", "similarity"))
    return NeighbourGraph(graph.faces, *columns)


def one_face_a_photo(vectors: VectorFile, labels: np.ndarray, photo: np.ndarray) -> np.ndarray:
    """`people.one_face_a_photo` on the groups that need it, some at a time. int64[n]."""
    order = np.lexsort((photo, labels))
    doubled = (np.diff(labels[order]) == 0) & (np.diff(photo[order]) == 0)
    concerned = np.zeros(int(labels.max(initial=0)) + 1, bool)
    concerned[labels[order][1:][doubled]] = True
    result = labels.copy()
    next_label = len(concerned)
    for members in _bands(labels, np.flatnonzero(concerned)):
        numbered = np.unique(labels[members], return_inverse=True)[1]
        found = people.one_face_a_photo(vectors.take(members), numbered, photo[members])
        result[members] = next_label + found
        next_label += int(found.max()) + 1
    return renumbered(result)


def _bands(labels: np.ndarray, groups: np.ndarray):
    """The members of `groups`, whole groups at a time, some `_BAND_FACES` together."""
    order = np.argsort(labels, kind="stable")
    start, end = (np.searchsorted(labels[order], groups, side=side) for side in ("left", "right"))
    filled = np.cumsum(end - start)
    first = 0
    while first < len(groups):
        before = filled[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(filled, before + _BAND_FACES, side="right")))
        yield np.concatenate([order[start[g] : end[g]] for g in range(first, last)])
        first = last


def attach(near: NeighbourGraph, group: np.ndarray, photo: np.ndarray, *, threshold: float) -> np.ndarray:
    """int64[n]: `group` with ungrouped faces put to the person that they clearly fit; see `people.attach`.

    `near` are the edges between ungrouped faces and people's. Of a person's closest three faces the
    ones that `near` doesn't know count as a margin below what it reaches down to.
    """
    result = group.copy()
    if not len(near.left):
        return result
    left_is_loose = group[near.left] < 0
    loose = np.where(left_is_loose, near.left, near.right)
    person = group[np.where(left_is_loose, near.right, near.left)]
    face, who, fit = _fits(loose, person, near.similarity, np.bincount(group[group >= 0]), threshold)
    best = np.lexsort((who, -fit, face))
    face, who, fit = face[best], who[best], fit[best]
    first = np.ones(len(face), bool)
    first[1:] = face[1:] != face[:-1]
    place = np.flatnonzero(first)
    after = np.minimum(place + 1, len(face) - 1)
    second = np.where((after > place) & (face[after] == face[place]), fit[after], -1)
    clear = (fit[place] >= threshold) & (fit[place] - second >= ATTACH_MARGIN)
    face, who, fit = face[place][clear], who[place][clear], fit[place][clear]
    # Nobody is twice in a photo: people's faces come first, then the better fit.
    core = np.flatnonzero(group >= 0)
    claims = np.concatenate([group[core], who]), np.concatenate([photo[core], photo[face]])
    strength = np.concatenate([np.full(len(core), 2.0), fit])
    claimant = np.concatenate([core, face])
    order = np.lexsort((claimant, -strength, claims[1], claims[0]))
    wins = np.ones(len(order), bool)
    wins[1:] = (np.diff(claims[0][order]) != 0) | (np.diff(claims[1][order]) != 0)
    winners = claimant[order][wins]
    people_of = claims[0][order][wins]
    loose_winner = group[winners] < 0
    result[winners[loose_winner]] = people_of[loose_winner]
    return result


def _fits(
    face: np.ndarray, person: np.ndarray, similarity: np.ndarray, sizes: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each face and person that an edge joins: the mean similarity to the person's closest three."""
    order = np.lexsort((-similarity, person, face))
    face, person, similarity = face[order], person[order], similarity[order].astype(np.float64)
    begins = np.ones(len(face), bool)
    begins[1:] = (face[1:] != face[:-1]) | (person[1:] != person[:-1])
    starts = np.flatnonzero(begins)
    known = np.minimum(np.diff(np.append(starts, len(face))), _CLOSEST)
    total = np.zeros(len(starts))
    for rank in range(_CLOSEST):
        has = known > rank
        total[has] += similarity[starts[has] + rank]
    wanted = np.minimum(sizes[person[starts]], _CLOSEST)
    unknown = np.maximum(wanted - known, 0)
    total += unknown * (threshold - 2 * ATTACH_MARGIN)
    return face[starts], person[starts], total / np.maximum(wanted, known)


def confidence(vectors: VectorFile, group: np.ndarray, threshold: float) -> np.ndarray:
    """`people.confidence`, some people at a time."""
    result = np.zeros(len(group), np.float32)
    for members in _bands(group, np.arange(int(group.max(initial=-1)) + 1)):
        numbered = np.unique(group[members], return_inverse=True)[1]
        result[members] = people.confidence(vectors.take(members), numbered, threshold)
    return result
