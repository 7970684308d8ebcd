"""People from groups: two faces in one photo are two people, weak faces come last, ids stay.

Clear faces decide who there is. Weak ones (small, blurred, turned, uncertain) look like many people
a little, so they never hold two groups together: they attach afterwards to the person they clearly
fit, or stay ungrouped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.calibration import USUAL_CONFIDENCE, Curve
from transforms.grouping import REACH, StrongFaces, group_strong, renumbered
from transforms.merging import group_means, row_products
from transforms.neighbours import nearest, neighbour_graph

CORE, ATTACHED, UNGROUPED = "core", "attached", "ungrouped"

NEIGHBOURS = 80
# Two faces in one photo this much alike are one face twice: a mirror, a collage, a photo in a photo.
# No pair of LFW's people in the learning half comes near it.
IDENTICAL = 0.9
_CLOSEST = 3
_ATTACH_NEIGHBOURS = 40


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
class Rules:
    """What holds beyond likeness: who is weak, whether two faces of a photo are two people, by how
    much a face that attaches must be nearer to its person than to the runner-up, and whether pieces of
    a person are put together by their means."""

    limits: WeakLimits = WeakLimits()
    same_photo: bool = True
    margin: float = 0.05
    merge: bool = True


@dataclass(frozen=True)
class FaceSet:
    """All faces of a library in order of face_id.

    `vectors` float32[n, d], centred unit vectors; `photo` int[n], which photo each face lies in;
    `size`, `score`, `yaw`, `sharpness` float32[n] as in the library; `bias` float32[n], how much more
    alike than usual each is to strangers (`models.calibration.Cohort`), None for none.
    """

    vectors: np.ndarray
    photo: np.ndarray
    size: np.ndarray
    score: np.ndarray
    yaw: np.ndarray
    sharpness: np.ndarray
    bias: np.ndarray | None = None

    def biases(self) -> np.ndarray:
        """float32[n]: `bias`, 0 where none is known."""
        return np.zeros(len(self.vectors), np.float32) if self.bias is None else self.bias

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
    """`group` int64[n], -1 for ungrouped; `role` str[n]; `confidence` float32[n] in 0 to 1; `ran` says
    how the groups were found."""

    group: np.ndarray
    role: np.ndarray
    confidence: np.ndarray
    ran: str = ""


def assign(
    faces: FaceSet, *, method: str, threshold: float, seed: int, rules: Rules = Rules(),
    curve: Curve = USUAL_CONFIDENCE, people: int | None = None,
) -> Assignment:  # fmt: skip
    """Groups faces by person; `people` is their number, for k-means alone.

    A person has at least two faces; a face that is like nobody else's stays ungrouped.
    """
    count = len(faces.vectors)
    photo = faces.photo if rules.same_photo else np.arange(count)
    strong = np.flatnonzero(~faces.weak(rules.limits))
    chosen = strong_faces(faces.vectors[strong], faces.biases()[strong], photo[strong], threshold)
    grouped = group_strong(
        chosen, method=method, threshold=threshold, seed=seed, people=people, merge=rules.merge
    )
    labels = one_face_a_photo(chosen.vectors, grouped.labels, chosen.photo)
    group = np.full(count, -1, np.int64)
    group[strong] = _without_singles(labels)
    role = np.where(group >= 0, CORE, UNGROUPED).astype(object)
    bias = faces.biases()
    attached = attach(faces.vectors, group, photo, threshold=threshold, bias=bias, margin=rules.margin)
    role[(group < 0) & (attached >= 0)] = ATTACHED
    likeness = own_likeness(faces.vectors, attached, bias)
    sure = np.where(attached >= 0, curve.at(likeness - threshold), 0).astype(np.float32)
    return Assignment(attached, role, sure, grouped.ran)


def strong_faces(vectors: np.ndarray, bias: np.ndarray, photo: np.ndarray, threshold: float) -> StrongFaces:
    """Clear faces with the graph of their neighbours, somewhat below the threshold too.

    Faces of one photo are no neighbours, but for near-identical ones.
    """
    least = threshold - REACH
    # A cosine that reaches `least` after both biases are taken away is at least this.
    graph = neighbour_graph(vectors, k=NEIGHBOURS, least=least + float(bias.min(initial=0)))
    apart = (photo[graph.left] != photo[graph.right]) | (graph.similarity >= IDENTICAL)
    graph = graph.filter(apart)
    similarity = graph.similarity - (bias[graph.left] + bias[graph.right]) / 2
    graph = replace(graph, similarity=similarity.astype(np.float32))
    return StrongFaces(vectors, bias, photo, graph.filter(similarity >= least))


def one_face_a_photo(vectors: np.ndarray, labels: np.ndarray, photo: np.ndarray) -> np.ndarray:
    """Takes faces out of groups until no group has two of one photo, but for near-identical ones.

    Of several faces of a photo the one nearest to the group's mean stays; the others get groups of
    their own. int64[n], numbered by first member.
    """
    result = labels.astype(np.int64).copy()
    pair = result * (int(photo.max(initial=0)) + 1) + photo
    _, inverse, counts = np.unique(pair, return_inverse=True, return_counts=True)
    doubled = np.flatnonzero(counts[inverse] > 1)
    if len(doubled):
        means = group_means(vectors, result)
        nearness = row_products(vectors, doubled, means, result[doubled])
        doubled = doubled[np.lexsort((doubled, -nearness, inverse[doubled]))]
        first = np.flatnonzero(np.append(True, np.diff(inverse[doubled]) > 0))
        kept = np.repeat(doubled[first], np.diff(np.append(first, len(doubled))))
        out = doubled[(doubled != kept) & (row_products(vectors, doubled, vectors, kept) < IDENTICAL)]
        result[out] = int(labels.max()) + 1 + np.arange(len(out))
    return renumbered(result)


def _without_singles(labels: np.ndarray) -> np.ndarray:
    """Groups of two and more, numbered anew from 0; -1 for who is alone."""
    counts = np.bincount(labels, minlength=int(labels.max(initial=-1)) + 1)
    kept = counts >= 2
    number = np.where(kept, np.cumsum(kept) - 1, -1)
    return number[labels] if len(labels) else labels.astype(np.int64)


def attach(
    vectors: np.ndarray, group: np.ndarray, photo: np.ndarray, *, threshold: float,
    bias: np.ndarray | None = None, margin: float = Rules.margin,
) -> np.ndarray:  # fmt: skip
    """int64[n]: `group` with ungrouped faces put to the person that they clearly fit.

    A face fits a person as well as the mean similarity to its closest three faces. It attaches when
    that reaches `threshold`, no other person comes within `margin`, and the person is not in the
    face's photo already; of two faces of one photo the better fit goes first.
    """
    result = group.copy()
    loose, core = np.flatnonzero(group < 0), np.flatnonzero(group >= 0)
    if not len(loose) or not len(core):
        return result
    bias = np.zeros(len(vectors), np.float32) if bias is None else bias
    index, similarity = nearest(vectors[loose], vectors[core], _ATTACH_NEIGHBOURS)
    people = group[core[index]]
    similarity = similarity - (bias[loose, None] + bias[core[index]]) / 2
    best, fit, second = _best_people(people, similarity)
    # Who sees one person alone among the neighbours may have a runner-up beyond them.
    unseen = np.flatnonzero((people == people[:, :1]).all(axis=1) & (fit >= threshold))
    second[unseen] = fit[unseen] - _lead(vectors, group, loose[unseen], best[unseen])
    fits = np.flatnonzero((fit >= threshold) & (fit - second >= margin))
    fits = fits[np.lexsort((loose[fits], -fit[fits]))]
    places = int(photo.max(initial=0)) + 1
    taken = group[core] * places + photo[core]
    wanted = best[fits] * places + photo[loose[fits]]
    first = np.zeros(len(fits), bool)
    first[np.unique(wanted, return_index=True)[1]] = True
    fits = fits[first & ~np.isin(wanted, taken)]
    result[loose[fits]] = best[fits]
    return result


def _best_people(people: np.ndarray, similarity: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The person that each row's neighbours speak for: (int64[n] person, float[n] its fit, the runner-up's).

    `people` int[n, k], `similarity` float[n, k]. A runner-up that there is not fits at -1.
    """
    rows, columns = people.shape
    row = np.repeat(np.arange(rows), columns)
    person, value = people.ravel().astype(np.int64), similarity.ravel()
    order = np.lexsort((-value, person, row))
    row, person, value = row[order], person[order], value[order]
    starts = np.flatnonzero(np.append(True, (np.diff(row) != 0) | (np.diff(person) != 0)))
    sizes = np.diff(np.append(starts, len(row)))
    place = np.arange(len(row)) - np.repeat(starts, sizes)
    closest = np.where(place < _CLOSEST, value, 0)
    fits = np.add.reduceat(closest, starts) / np.minimum(sizes, _CLOSEST)
    row, person = row[starts], person[starts]
    order = np.lexsort((-person, -fits, row))
    row, person, fits = row[order], person[order], fits[order]
    first = np.flatnonzero(np.append(True, np.diff(row) != 0))
    after = np.minimum(first + 1, len(row) - 1)
    second = np.where((after > first) & (row[after] == row[first]), fits[after], -1.0)
    return person[first], fits[first], second


def _lead(vectors: np.ndarray, group: np.ndarray, faces: np.ndarray, person: np.ndarray) -> np.ndarray:
    """float32[m]: by how much each face is nearer to the mean of its person than to any other's."""
    core = np.flatnonzero(group >= 0)
    means = group_means(vectors[core], group[core])
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    index, similarity = nearest(vectors[faces], means, 2)
    if index.shape[1] < 2:
        return np.full(len(faces), 2, np.float32)
    own = row_products(vectors, faces, means, person)
    other = np.where(index[:, 0] == person, similarity[:, 1], similarity[:, 0])
    return own - other


def own_likeness(vectors: np.ndarray, group: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """float32[n]: how alike each face is to the other faces of its person, 0 for who is ungrouped.

    The cosine of its vector and the others' mean, minus half of its bias and of their mean bias.
    """
    result = np.zeros(len(group), np.float32)
    grouped = np.flatnonzero(group >= 0)
    if len(grouped):
        label = group[grouped]
        sizes = np.bincount(label)
        sums = group_means(vectors[grouped], label) * sizes[:, None]
        to_sum = row_products(vectors, grouped, sums, label)
        # The others' sum is the sum without the face, whose own product with itself is 1.
        others = np.einsum("ij,ij->i", sums, sums)[label] - 2 * to_sum + 1
        cosine = (to_sum - 1) / np.sqrt(np.maximum(others, 1e-12))
        rest = np.bincount(label, bias[grouped])[label] - bias[grouped]
        result[grouped] = cosine - (bias[grouped] + rest / np.maximum(sizes[label] - 1, 1)) / 2
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
