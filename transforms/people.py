"""People from groups: two faces in one photo are two people, weak faces come last, ids stay.

Clear faces decide who there is. Weak ones (small, blurred, turned, uncertain) look like many people
a little, so they never hold two groups together: they attach afterwards to the person they clearly
fit, or stay ungrouped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from transforms.constraints import Constraints
from transforms.enforcement import enforce, guided
from transforms.grouping import group_strong, renumbered
from transforms.neighbours import NeighbourGraph, graph_within, nearest, neighbour_graph

CORE, ATTACHED, UNGROUPED = "core", "attached", "ungrouped"

NEIGHBOURS = 80
# Two faces in one photo this much alike are one face twice: a mirror, a collage, a photo in a photo.
# No pair of LFW's people in the learning half comes near it.
IDENTICAL = 0.9
# A weak face must be nearer to its person than to the runner-up by this much.
_MARGIN = 0.05
_CLOSEST = 3
_ATTACH_NEIGHBOURS = 40
# Confidence: how far beyond the threshold, in units in which people differ from photo to photo.
_CONFIDENCE_SCALE = 0.05


@dataclass(frozen=True)
class WeakLimits:
    """When a face is weak: a shorter side below `size` pixels, a detection score below `score`,
    turned sideways by more than `yaw` degrees, or less sharp than `sharpness`.

    Set so that at most one in 200 of the labelled faces of LFW's learning half falls below each.
    Blurred and half-hidden faces, and what is no face at all, lie close together whoever they are:
    with sharpness 0.03 and score 0.9, 166 of LFW's background faces became one "person".
    """

    size: float = 40
    score: float = 0.95
    yaw: float = 50
    sharpness: float = 0.085


@dataclass(frozen=True)
class FaceSet:
    """All faces of a library in order of face_id.

    `vectors` float32[n, d], centred unit vectors; `photo` int[n], which photo each face lies in;
    `size`, `score`, `yaw`, `sharpness` float32[n] as in the library.
    """

    vectors: np.ndarray
    photo: np.ndarray
    size: np.ndarray
    score: np.ndarray
    yaw: np.ndarray
    sharpness: np.ndarray

    def weak(self, limits: WeakLimits) -> np.ndarray:
        """bool[n]: which faces are weak."""
        return (
            (self.size < limits.size)
            | (self.score < limits.score)
            | (np.abs(self.yaw) > limits.yaw)
            | (self.sharpness < limits.sharpness)
        )


@dataclass(frozen=True)
class Assignment:
    """`group` int64[n], -1 for ungrouped; `role` str[n]; `confidence` float32[n] in 0 to 1."""

    group: np.ndarray
    role: np.ndarray
    confidence: np.ndarray


def assign(
    faces: FaceSet, *, method: str, threshold: float, seed: int, limits: WeakLimits = WeakLimits(),
    constraints: Constraints = Constraints(), graph: NeighbourGraph | None = None,
) -> Assignment:  # fmt: skip
    """Groups faces by person, keeping the `constraints`; `graph` holds the neighbours of clear faces, by
    row among all faces, where they are known (`clear_neighbours`).

    A person has at least two faces; a face that is like nobody else's stays ungrouped.
    """
    count = len(faces.vectors)
    strong = np.flatnonzero(~faces.weak(limits))
    vectors, photo = faces.vectors[strong], faces.photo[strong]
    if graph is None:
        graph = neighbour_graph(vectors, k=NEIGHBOURS, least=threshold)
    else:
        graph = graph_within(graph, strong)
        graph = graph.filter(graph.similarity >= threshold)
    same_photo = photo[graph.left] == photo[graph.right]
    graph = graph.filter(~same_photo | (graph.similarity >= IDENTICAL))
    graph = guided(graph, constraints, strong)
    labels = group_strong(vectors, graph, method=method, threshold=threshold, seed=seed)
    labels = one_face_a_photo(vectors, labels, photo)
    group = np.full(count, -1, np.int64)
    group[strong] = _without_singles(labels)
    keep = partial(enforce, constraints=constraints, threshold=threshold, identical=IDENTICAL)
    group = keep(group, faces.vectors, faces.photo)
    attached = keep(
        attach(faces.vectors, group, faces.photo, threshold=threshold), faces.vectors, faces.photo
    )
    role = np.where(attached < 0, UNGROUPED, np.where(group >= 0, CORE, ATTACHED)).astype(object)
    return Assignment(attached, role, confidence(faces.vectors, attached, threshold))


def clear_neighbours(faces: FaceSet, *, least: float, limits: WeakLimits) -> NeighbourGraph:
    """The neighbours of clear faces with a cosine of at least `least`, by row among all faces."""
    rows = np.flatnonzero(~faces.weak(limits)).astype(np.int32)
    found = neighbour_graph(faces.vectors[rows], k=NEIGHBOURS, least=least)
    return NeighbourGraph(len(faces.vectors), rows[found.left], rows[found.right], found.similarity)


def one_face_a_photo(vectors: np.ndarray, labels: np.ndarray, photo: np.ndarray) -> np.ndarray:
    """Takes faces out of groups until no group has two of one photo, but for near-identical ones.

    Of several faces of a photo the one nearest to the group's mean stays; the others get groups of
    their own. int64[n], numbered by first member.
    """
    pair = labels.astype(np.int64) * (int(photo.max(initial=0)) + 1) + photo
    _, inverse, counts = np.unique(pair, return_inverse=True, return_counts=True)
    doubled = np.flatnonzero(counts[inverse] > 1)
    result = labels.astype(np.int64).copy()
    if not len(doubled):
        return renumbered(result)
    means = group_means(vectors, labels)
    next_label = int(labels.max()) + 1
    by_pair: dict[int, list[int]] = {}
    for face in doubled.tolist():
        by_pair.setdefault(int(pair[face]), []).append(face)
    for members in by_pair.values():
        nearness = [float(vectors[f] @ means[labels[f]]) for f in members]
        kept = members[int(np.argmax(nearness))]
        for face in members:
            if face != kept and float(vectors[face] @ vectors[kept]) < IDENTICAL:
                result[face] = next_label
                next_label += 1
    return renumbered(result)


def group_means(vectors: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """float32[g, d]: the mean vector of each group 0 … g-1, not at unit length.

    The dot product of two groups' means is the mean similarity between their faces.
    """
    size = int(labels.max(initial=-1)) + 1
    sums = np.zeros((size, vectors.shape[1]), np.float64)
    np.add.at(sums, labels, vectors)
    counts = np.bincount(labels, minlength=size)[:, None]
    return (sums / np.maximum(counts, 1)).astype(np.float32)


def _without_singles(labels: np.ndarray) -> np.ndarray:
    """Groups of two and more, numbered anew from 0; -1 for who is alone."""
    counts = np.bincount(labels, minlength=int(labels.max(initial=-1)) + 1)
    kept = counts >= 2
    number = np.where(kept, np.cumsum(kept) - 1, -1)
    return number[labels] if len(labels) else labels.astype(np.int64)


def attach(vectors: np.ndarray, group: np.ndarray, photo: np.ndarray, *, threshold: float) -> np.ndarray:
    """int64[n]: `group` with ungrouped faces put to the person that they clearly fit.

    A face fits a person as well as the mean similarity to its closest three faces. It attaches when
    that reaches `threshold`, no other person comes within a margin, and the person is not in the
    face's photo already; of two faces of one photo the better fit goes first.
    """
    result = group.copy()
    loose, core = np.flatnonzero(group < 0), np.flatnonzero(group >= 0)
    if not len(loose) or not len(core):
        return result
    index, similarity = nearest(vectors[loose], vectors[core], _ATTACH_NEIGHBOURS)
    candidates = []
    for row, face in enumerate(loose.tolist()):
        best, fit, second = _best_person(group[core[index[row]]], similarity[row])
        if fit >= threshold and fit - second >= _MARGIN:
            candidates.append((fit, face, best))
    taken = {(int(g), int(p)) for g, p in zip(group[core], photo[core], strict=True)}
    for _, loose_face, person in sorted(candidates, key=lambda c: (-c[0], c[1])):
        key = (person, int(photo[loose_face]))
        if key not in taken:
            taken.add(key)
            result[loose_face] = person
    return result


def _best_person(people: np.ndarray, similarity: np.ndarray) -> tuple[int, float, float]:
    """The person that neighbours (best first) speak for: (person, its fit, the runner-up's fit)."""
    fits: dict[int, list[float]] = {}
    for person, value in zip(people.tolist(), similarity.tolist(), strict=True):
        closest = fits.setdefault(person, [])
        if len(closest) < _CLOSEST:
            closest.append(value)
    ranked = sorted(((sum(v) / len(v), p) for p, v in fits.items()), reverse=True)
    return ranked[0][1], ranked[0][0], ranked[1][0] if len(ranked) > 1 else -1.0


def confidence(vectors: np.ndarray, group: np.ndarray, threshold: float) -> np.ndarray:
    """float32[n]: how surely each face belongs to its person, 0 for who is ungrouped.

    A logistic function of the mean similarity to the person's other faces, one half at the threshold.
    """
    result = np.zeros(len(group), np.float32)
    grouped = np.flatnonzero(group >= 0)
    if len(grouped):
        counts = np.bincount(group[grouped])
        means = group_means(vectors[grouped], group[grouped])
        own = np.einsum("ij,ij->i", vectors[grouped], means[group[grouped]])
        size = counts[group[grouped]]
        others = (own * size - 1) / np.maximum(size - 1, 1)
        result[grouped] = 1 / (1 + np.exp(-(others - threshold) / _CONFIDENCE_SCALE))
    return result


def person_ids(face_ids: Sequence[str], group: np.ndarray, previous: dict[str, str]) -> list[str]:
    """An id for each group 0 … g-1.

    A group takes over the id of the person of the last revision with which it shares most faces, the
    largest overlap first, and each id goes to one group. New people are named after their first face
    in order of id, so the same library gives the same ids.
    """
    overlaps: dict[tuple[int, str], int] = {}
    first_face: dict[int, str] = {}
    for face, number in zip(face_ids, group.tolist(), strict=True):
        if number < 0:
            continue
        first_face.setdefault(number, face)
        if face in previous:
            key = (number, previous[face])
            overlaps[key] = overlaps.get(key, 0) + 1
    ids: dict[int, str] = {}
    used: set[str] = set()
    for (number, person), _ in sorted(overlaps.items(), key=lambda item: (-item[1], item[0])):
        if number not in ids and person not in used:
            ids[number] = person
            used.add(person)
    reserved = used | set(previous.values())
    for number in sorted(first_face):
        if number not in ids:
            ids[number] = _new_id(first_face[number], reserved)
            reserved.add(ids[number])
    return [ids[number] for number in range(len(first_face))]


def _new_id(face_id: str, reserved: set[str]) -> str:
    salt = 0
    while True:
        digest = hashlib.blake2b(f"{face_id}/{salt}".encode(), digest_size=5).hexdigest()
        if f"p-{digest}" not in reserved:
            return f"p-{digest}"
        salt += 1
