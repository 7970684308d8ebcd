"""Growing groups: new faces, and the loose ones they are like, find their place among kept people.

New faces are compared with all others once. They are grouped with each other and with the ungrouped faces
that they are like, as any faces are; then these groups and the kept people, each of them one node, are put
together by their means, so that a person who has grown may also turn out to be another one. What is still
loose attaches to whom it clearly fits. Everyone else stays as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np

from models.calibration import Curve
from transforms.attaching import attach, loose_neighbours
from transforms.constraints import Constraints
from transforms.enforcement import enforce, freed_photos, guided_by
from transforms.grouping import StrongFaces, fine_groups, merged_groups
from transforms.merging import group_means
from transforms.neighbours import NeighbourGraph, graph_within, simple
from transforms.people import (
    ATTACHED,
    CORE,
    IDENTICAL,
    UNGROUPED,
    Assignment,
    FaceSet,
    Rules,
    deciding_edges,
    one_face_a_photo,
    own_likeness,
)

RENEWAL = 1.25

# The neighbours of the faces int64[m] among all faces.
Neighbours = Callable[[np.ndarray], NeighbourGraph]


@dataclass(frozen=True)
class Kept:
    """What the revision before hands on, by row among the faces of now.

    `known` bool[n]: faces that it knew; `group` int64[n] (-1: ungrouped or new), `role` str[n] and
    `confidence` float32[n] of these; `graph`: neighbours among the known clear faces, None where the
    library is too large to keep them.
    """

    known: np.ndarray
    group: np.ndarray
    role: np.ndarray
    confidence: np.ndarray
    graph: NeighbourGraph | None = None


@dataclass(frozen=True)
class Growth:
    """How an increment groups: as `transforms.people.assign` with the same arguments does."""

    threshold: float
    seed: int
    rules: Rules
    curve: Curve


def joined(first: NeighbourGraph, second: NeighbourGraph) -> NeighbourGraph:
    """The edges of both, each once, in order."""
    ends = ((first.left, second.left), (first.right, second.right), (first.similarity, second.similarity))
    return simple(NeighbourGraph(first.faces, *map(np.concatenate, ends)))


def increment(
    faces: FaceSet, kept: Kept, fresh: NeighbourGraph, constraints: Constraints, changed: np.ndarray,
    *, near: Neighbours, how: Growth,
) -> tuple[Assignment, int]:  # fmt: skip
    """The kept groups with new faces in them, and how many faces were grouped anew.

    `fresh`: the neighbours of new faces; `changed` int64[m]: faces about which the corrections say
    something else than before, whose people are grouped anew.
    """
    from transforms.bursts import bursts_of  # on use: compiles

    photo = freed_photos(faces.photo, constraints) if how.rules.same_photo else np.arange(len(faces.photo))
    faces = replace(faces, photo=photo)
    start, free = _opened(kept, constraints, changed)
    edges = joined(fresh, near(np.flatnonzero(free & kept.known)))
    touched = _touched_loose(start, free, edges.filter(edges.similarity >= how.threshold))
    edges = joined(edges, near(np.flatnonzero(touched)))
    edges = edges.filter(~np.isin(edges.left, constraints.absent) & ~np.isin(edges.right, constraints.absent))
    free |= touched
    core = start >= 0
    core &= kept.role == CORE
    weak = faces.weak(how.rules.limits)
    burst = bursts_of(edges.filter(~(weak[edges.left] | weak[edges.right])), faces.biases())
    group = _put_together(faces, start, core, free, edges, burst, constraints, how)
    moved = _affected(start, group, free)
    group = _one_face_a_photo(faces, group, moved)
    keep = _keeping(faces, constraints, how.threshold)
    group = keep(_without_singles(group, moved))
    near_ones = loose_neighbours(faces.vectors, faces.biases(), group, edges, burst=burst)
    attached = keep(
        attach(faces.vectors, group, photo, near_ones, threshold=how.threshold, margin=how.rules.margin)
    )
    role = np.where(free | (start < 0), np.where(group >= 0, CORE, ATTACHED), kept.role)
    role = np.where(attached < 0, UNGROUPED, role).astype(object)
    found = _judged(faces, _tidied(attached, role, kept.confidence.copy(), constraints), start, free, how)
    ran = f"map equation on {len(edges.left):,} edges of new faces, merged by means with the people before"
    return replace(found, ran=ran), int(free.sum())


def _opened(kept: Kept, constraints: Constraints, changed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(int64[n] the kept groups, bool[n] who is grouped anew): new faces, and people of whom corrections say
    something else than before."""
    group, free = kept.group.copy(), ~kept.known
    numbers = np.unique(group[changed])
    free |= np.isin(group, numbers[numbers >= 0])
    free[changed] = True
    free[constraints.absent] = False
    group[free] = -1
    group[constraints.absent] = -1
    return group, free


def _touched_loose(group: np.ndarray, free: np.ndarray, like: NeighbourGraph) -> np.ndarray:
    """bool[n]: the ungrouped faces, weak ones too, that an edge joins to one that is grouped anew."""
    touched = np.zeros(len(group), bool)
    touched[like.left[free[like.right]]] = True
    touched[like.right[free[like.left]]] = True
    return touched & (group < 0) & ~free


def _put_together(
    faces: FaceSet, start: np.ndarray, core: np.ndarray, free: np.ndarray, edges: NeighbourGraph,
    burst: np.ndarray, constraints: Constraints, how: Growth,
) -> np.ndarray:  # fmt: skip
    """int64[n]: kept people with the groups of free faces that are like them; who is alone is a group."""
    bias, weak = faces.biases(), faces.weak(how.rules.limits)
    strong = deciding_edges(edges, bias, faces.photo, weak & free, how.threshold)
    said = constraints.among(np.flatnonzero(core | (free & ~weak)))
    strong = guided_by(strong, said) if len(said.faces) else strong
    members = np.flatnonzero(free & ~weak)
    node = _by_sides(faces.vectors, start, core, constraints)
    count = int(node.max(initial=-1)) + 1
    labels = np.full(len(start), -1)
    met = np.zeros(count + 1, bool)
    met[node[np.concatenate([strong.left, strong.right])]] = True
    core = core & met[node]
    labels[core] = node[core]
    labels[members] = count + fine_groups(
        graph_within(strong, members), _among(burst, members), threshold=how.threshold, seed=how.seed
    )
    chosen = StrongFaces(faces.vectors, bias, faces.photo, strong, members, burst)
    labels = _dense(labels)
    merged = merged_groups(chosen, labels, threshold=how.threshold)
    merged = _known_to_differ(faces.vectors, labels, merged, core, constraints)
    # People whom nobody met, and faces that had attached, go with their people.
    place = np.arange(count + 1) + int(merged.max(initial=-1)) + 1
    place[start[core]] = merged[core]
    return _dense(np.where(merged >= 0, merged, np.where(start >= 0, place[start], -1)))


def _by_sides(
    vectors: np.ndarray, group: np.ndarray, core: np.ndarray, constraints: Constraints
) -> np.ndarray:
    """int64[n]: `group`, in which people whom corrections have put together are a node for each of those that
    they were, as near as their faces are to the means of these. Who looks like one of them need not look like
    both; they stay together all the same (`enforce`)."""
    result = group.copy()
    for tie in constraints.ties:
        sides = [side[core[side]] for side in tie.wholes]
        sides = [side for side in sides if len(side)]
        numbers = np.unique(result[np.concatenate(sides)]) if len(sides) > 1 else group[:0]
        if len(numbers) == 1 and numbers[0] >= 0:
            rows = np.flatnonzero((result == numbers[0]) & core)
            means = np.array([vectors[side].mean(axis=0) for side in sides])
            means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
            nearest = (vectors[rows] @ means.T).argmax(axis=1)
            result[rows] = np.where(nearest, int(result.max()) + nearest, numbers[0])
    return result


def _among(burst: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """int64[m]: the first of each burst among the faces int64[m] `rows`, by its place there."""
    _, first, inverse = np.unique(burst[rows], return_index=True, return_inverse=True)
    return first[inverse]


def _known_to_differ(
    vectors: np.ndarray, labels: np.ndarray, merged: np.ndarray, core: np.ndarray, constraints: Constraints
) -> np.ndarray:
    """int64[n]: `merged` groups of `labels`, without those that have two kept people in them who are known
    to be different: these stay as they were, and the others go with the one whom they are most like."""
    left, right = constraints.apart.T
    together = (merged[left] == merged[right]) & (labels[left] != labels[right])
    mixed = set(merged[left[together]].tolist())
    names: dict[int, str] = {}
    for claim in constraints.claims:
        for number in np.unique(merged[claim.faces]).tolist():
            if names.setdefault(number, claim.name) != claim.name:
                mixed.add(number)
    result = merged.copy()
    for number in sorted(mixed - {-1}):
        rows = np.flatnonzero(merged == number)
        node = np.unique(labels[rows], return_inverse=True)[1]
        kept = np.unique(node[core[rows]])
        if len(kept) > 1:
            means = group_means(vectors[rows], node)
            means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
            goes_with = kept[(means @ means[kept].T).argmax(axis=1)]
            goes_with[kept] = kept
            result[rows] = int(result.max()) + 1 + goes_with[node]
    return result


def _dense(labels: np.ndarray) -> np.ndarray:
    """int64[n]: the same groups without gaps between their numbers; -1 stays."""
    found = np.unique(labels, return_inverse=True)[1].astype(np.int64)
    return found - int((labels < 0).any())


def _affected(start: np.ndarray, group: np.ndarray, free: np.ndarray) -> np.ndarray:
    """bool[n]: the faces of groups that have a free face, or faces of several kept people."""
    count = int(group.max(initial=-1)) + 1
    held = np.zeros(count + 1, bool)
    held[group[free]] = True
    both = (group >= 0) & (start >= 0)
    pairs = np.unique(group[both] * (int(start.max(initial=-1)) + 1) + start[both])
    held[:count] |= np.bincount(pairs // (int(start.max(initial=-1)) + 1), minlength=count) > 1
    return held[group] & (group >= 0)


def _one_face_a_photo(faces: FaceSet, group: np.ndarray, affected: np.ndarray) -> np.ndarray:
    """As `people.one_face_a_photo`, for the groups that are affected and have two faces of a photo."""
    rows = np.flatnonzero(affected)
    pairs = group[rows] * (int(faces.photo.max(initial=0)) + 1) + faces.photo[rows]
    _, inverse, counts = np.unique(pairs, return_inverse=True, return_counts=True)
    rows = np.flatnonzero(affected & np.isin(group, group[rows[counts[inverse] > 1]]))
    if not len(rows):
        return group
    result = group.copy()
    numbers = np.unique(group[rows], return_inverse=True)[1]
    found = one_face_a_photo(
        faces.vectors[rows], numbers, np.unique(faces.photo[rows], return_inverse=True)[1]
    )
    result[rows] = int(group.max()) + 1 + found
    return result


def _without_singles(group: np.ndarray, affected: np.ndarray) -> np.ndarray:
    sizes = np.bincount(group[group >= 0], minlength=1)
    return np.where(affected & (group >= 0) & (sizes[np.maximum(group, 0)] < 2), -1, group)


def _keeping(
    faces: FaceSet, constraints: Constraints, threshold: float
) -> Callable[[np.ndarray], np.ndarray]:
    def keep(group: np.ndarray) -> np.ndarray:
        return enforce(
            group, vectors=faces.vectors, photo=faces.photo, constraints=constraints, threshold=threshold,
            identical=IDENTICAL,
        )  # fmt: skip

    return keep


def _judged(
    faces: FaceSet, found: Assignment, start: np.ndarray, free: np.ndarray, how: Growth
) -> Assignment:
    """With the confidence of everyone in a group that has changed."""
    affected = _affected(start, found.group, free | ((start < 0) & (found.group >= 0)))
    likeness = own_likeness(faces.vectors, np.where(affected, found.group, -1), faces.biases())
    sure = np.where(affected, how.curve.at(likeness - how.threshold), found.confidence)
    return replace(found, confidence=sure.astype(np.float32))


def part_of(faces: FaceSet, rows: np.ndarray) -> FaceSet:
    """The faces int64[n] `rows` alone."""
    if len(rows) == len(faces.photo):
        return faces
    values = {f.name: getattr(faces, f.name) for f in fields(faces)}
    return replace(faces, **{name: value[rows] for name, value in values.items() if value is not None})


def _tidied(
    group: np.ndarray, role: np.ndarray, confidence: np.ndarray, constraints: Constraints
) -> Assignment:
    """Without people of one face, whose others have gone; groups numbered by their first faces."""
    counts = np.bincount(group[group >= 0], minlength=1)
    alone = (group >= 0) & (counts[np.maximum(group, 0)] == 1)
    alone[[f for c in constraints.claims if c.exact for f in c.faces]] = False
    group[alone], role[alone], confidence[alone] = -1, "ungrouped", 0
    grouped = np.flatnonzero(group >= 0)
    _, first, inverse = np.unique(group[grouped], return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    group[grouped] = rank[inverse]
    return Assignment(group, role, confidence)
