"""People from groups: two faces in one photo are two people, weak faces come last, ids stay.

Clear faces decide who there is. Weak ones (small, blurred, turned, uncertain) look like many people
a little, so they never hold two groups together: they attach afterwards to the person they clearly
fit, or stay ungrouped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from models.calibration import USUAL_CONFIDENCE, Curve
from transforms.constraints import Constraints
from transforms.edge_files import Edges, chosen_edges, edge_slices
from transforms.enforcement import enforce, freed_photos, guided_by
from transforms.grouping import REACH, StrongFaces, group_strong, renumbered
from transforms.merging import group_means, row_products
from transforms.neighbours import NeighbourGraph, cosines, neighbour_graph

if TYPE_CHECKING:
    from transforms.probe_search import Cells

CORE, ATTACHED, UNGROUPED = "core", "attached", "ungrouped"

NEIGHBOURS = 48
# Two faces in one photo this much alike are one face twice: a mirror, a collage, a photo in a photo.
# No pair of LFW's people in the learning half comes near it.
IDENTICAL = 0.9
CLOSEST = 3
ATTACH_NEIGHBOURS = 40
# What lies this far below the threshold doesn't decide to whom a face attaches.
FAR = 0.25
# So many faces ask at a time who else they may be; where people are more than a few, in their nearest cells.
_TOGETHER, _FEW_PEOPLE, _PEOPLE_IN_CELL, _PEOPLE_PROBES = 65_536, 20_000, 500, 24


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

    def without(self, absent: np.ndarray) -> FaceSet:
        """The same, with int64[a] `absent`, of whom the user says that they are no faces, as weak as can be:
        they decide nothing, and nobody is found through them."""
        if not len(absent):
            return self
        score = self.score.copy()
        score[absent] = -1
        return replace(self, score=score)

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
    curve: Curve = USUAL_CONFIDENCE, people: int | None = None, constraints: Constraints = Constraints(),
    graph: NeighbourGraph | None = None, attach_along: NeighbourGraph | None = None, threads: int = 1,
    folder: str | None = None,
) -> Assignment:  # fmt: skip
    """Groups faces by person, keeping the `constraints`; `people` is their number, for k-means alone.

    A person has at least two faces; a face that is like nobody else's stays ungrouped. `graph` holds the
    neighbours of clear faces by row among all faces, where they are known (`clear_neighbours`); other edges
    in it don't matter. Faces attach along the edges of `attach_along`, likewise of all faces, else all are
    compared. With both, vectors are only read a part at a time, and may lie in a file; in a local `folder`
    what is made of the edges lies in files too.
    """
    from transforms.bursts import bursts_of  # on use: compiles

    faces = faces.without(constraints.absent)
    photo = freed_photos(faces.photo, constraints) if rules.same_photo else np.arange(len(faces.vectors))
    bias, weak = faces.biases(), faces.weak(rules.limits)
    if graph is None:
        graph = clear_neighbours(faces, least=threshold - REACH, limits=rules.limits)
    edges = deciding_edges(graph, bias, photo, weak, threshold, folder=folder)
    clear, burst = np.flatnonzero(~weak), bursts_of(edges, bias)
    edges = guided_by(edges, constraints.among(clear), folder=folder) if len(constraints.faces) else edges
    chosen = StrongFaces(faces.vectors, bias, photo, edges, clear, burst)
    grouped = group_strong(
        chosen, method=method, threshold=threshold, seed=seed, people=people, merge=rules.merge,
        threads=threads, folder=folder,
    )  # fmt: skip
    labels = one_face_a_photo(faces.vectors, grouped.labels, photo)
    keep = partial(
        enforce, vectors=faces.vectors, photo=photo, constraints=constraints, threshold=threshold,
        identical=IDENTICAL,
    )  # fmt: skip
    group = keep(_without_singles(labels))
    # A clear face that is like no other has nobody to attach to.
    hopeful = weak.copy()
    for left, right, similarity in edge_slices(edges):
        hopeful[left[similarity >= threshold]] = True
        hopeful[right[similarity >= threshold]] = True
    hopeful[constraints.absent] = False
    near = loose_neighbours(
        faces.vectors, bias, group, attach_along, among=hopeful, least=threshold - FAR, burst=burst
    )
    attached = keep(attach(faces.vectors, group, photo, near, threshold=threshold, margin=rules.margin))
    role = np.where(attached < 0, UNGROUPED, np.where(group >= 0, CORE, ATTACHED)).astype(object)
    likeness = own_likeness(faces.vectors, attached, bias)
    sure = np.where(attached >= 0, curve.at(likeness - threshold), 0).astype(np.float32)
    return Assignment(attached, role, sure, grouped.ran)


def clear_neighbours(faces: FaceSet, *, least: float, limits: WeakLimits, threads: int = 1) -> NeighbourGraph:
    """The neighbours of clear faces with a similarity of at least `least`, by row among all faces."""
    rows = np.flatnonzero(~faces.weak(limits)).astype(np.int32)
    found = neighbour_graph(
        faces.vectors[rows], k=NEIGHBOURS, least=least, bias=faces.biases()[rows], threads=threads
    )
    return NeighbourGraph(len(faces.vectors), rows[found.left], rows[found.right], found.similarity)


def deciding_edges(
    graph: NeighbourGraph, bias: np.ndarray, photo: np.ndarray, weak: np.ndarray, threshold: float,
    *, folder: str | None = None,
) -> NeighbourGraph:  # fmt: skip
    """The edges between clear faces, down to somewhat below the threshold.

    Faces of one photo are no neighbours, but for near-identical ones. Arrays of `graph` may lie in files, and
    those of the edges do where a `folder` is given.
    """

    def choose(left: np.ndarray, right: np.ndarray, similarity: np.ndarray) -> Edges:
        wanted = ~(weak[left] | weak[right]) & (similarity >= threshold - REACH)
        identical = cosines(left, right, similarity, bias) >= IDENTICAL
        wanted &= (photo[left] != photo[right]) | identical
        return left[wanted], right[wanted], similarity[wanted]

    return chosen_edges(graph, choose, folder=folder)


def strong_faces(vectors: np.ndarray, bias: np.ndarray, photo: np.ndarray, threshold: float) -> StrongFaces:
    """Faces that are all clear, with the graph of their neighbours."""
    from transforms.bursts import bursts_of  # on use: compiles

    count = len(vectors)
    graph = neighbour_graph(vectors, k=NEIGHBOURS, least=threshold - REACH, bias=bias)
    edges = deciding_edges(graph, bias, photo, np.zeros(count, bool), threshold)
    return StrongFaces(vectors, bias, photo, edges, np.arange(count), bursts_of(edges, bias))


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
        groups = np.unique(result[doubled])
        place = np.searchsorted(groups, result).clip(max=len(groups) - 1)
        means = group_means(vectors, np.where(groups[place] == result, place, -1))
        nearness = row_products(vectors, doubled, means, place[doubled])
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
    threshold: float, margin: float = Rules.margin,
) -> np.ndarray:  # fmt: skip
    """int64[n]: `group` with ungrouped faces put to the person that they clearly fit.

    A face fits a person as well as the mean similarity to its closest three faces, shots of a burst being as
    close as the first of them. It attaches when
    that reaches `threshold`, no other person comes within `margin`, and the person is not in the
    face's photo already; of two faces of one photo the better fit goes first.
    """
    result = group.copy()
    near = loose_neighbours(vectors, None, group) if near is None else near
    if not len(near.loose):
        return result
    loose, best, fit, second, alone = _best_people(near, group)
    # Who sees one person alone among the neighbours may have a runner-up beyond them.
    unseen = np.flatnonzero(alone & (fit >= threshold) & (near.unlisted[loose] > fit - margin))
    second[unseen] = fit[unseen] - _lead(vectors, group, loose[unseen], best[unseen])
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


def _lead(vectors: np.ndarray, group: np.ndarray, faces: np.ndarray, person: np.ndarray) -> np.ndarray:
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
        near = neighbours_among(table, asking, 2, least=-2, base=people, cells=cells)
        row = start + near.face - len(means)
        others = near.other != person[row]
        np.maximum.at(runner_up, row[others], near.similarity[others])
    return lead - runner_up


def _cells_of_people(means: np.ndarray) -> Cells | None:
    """Where to look for the people like someone, None where they are few enough to compare all. float32[p, d]
    unit `means`."""
    if len(means) <= _FEW_PEOPLE:
        return None
    from transforms.cells import plan_cells, sample_size
    from transforms.probe_search import Cells

    size = sample_size(len(means), usual=_PEOPLE_IN_CELL)
    rows = np.unique(np.linspace(0, len(means) - 1, size).astype(np.int64))
    centres = plan_cells(
        means[rows], faces=len(means), usual=_PEOPLE_IN_CELL, most=4 * _PEOPLE_IN_CELL, seed=0
    )
    return Cells.of(means, centres, _PEOPLE_PROBES)


def own_likeness(vectors: np.ndarray, group: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """float32[n]: how alike each face is to the other faces of its person, 0 for who is ungrouped.

    The cosine of its vector and the others' mean, minus half of its bias and of their mean bias.
    """
    result = np.zeros(len(group), np.float32)
    grouped = np.flatnonzero(group >= 0)
    if len(grouped):
        label = group[grouped]
        sizes = np.bincount(label)
        sums = group_means(vectors, group) * sizes[:, None]
        to_sum = row_products(vectors, grouped, sums, label)
        # The others' sum is the sum without the face, whose own product with itself is 1.
        others = np.einsum("ij,ij->i", sums, sums)[label] - 2 * to_sum + 1
        cosine = (to_sum - 1) / np.sqrt(np.maximum(others, 1e-12))
        rest = np.bincount(label, bias[grouped])[label] - bias[grouped]
        result[grouped] = cosine - (bias[grouped] + rest / np.maximum(sizes[label] - 1, 1)) / 2
    return result


def person_ids(face_ids: Sequence[str], group: np.ndarray, previous: Mapping[str, str]) -> list[str]:
    """An id for each group 0 … g-1.

    A group takes over the id of the person of the last revision with which it shares most faces, the
    largest overlap first, and each id goes to one group. New people are named after their first face
    in order of id, so the same library gives the same ids.
    """
    numbers, first = np.unique(group, return_index=True)
    first_face = {n: face_ids[r] for n, r in zip(numbers.tolist(), first.tolist(), strict=True) if n >= 0}
    ids: dict[int, str] = {}
    used: set[str] = set()
    for number, person in _overlaps(face_ids, group, previous):
        if number not in ids and person not in used:
            ids[number] = person
            used.add(person)
    reserved = used | set(previous.values())
    for number in sorted(first_face):
        if number not in ids:
            ids[number] = _new_id(first_face[number], reserved)
            reserved.add(ids[number])
    return [ids[number] for number in range(len(first_face))]


def _overlaps(
    face_ids: Sequence[str], group: np.ndarray, previous: Mapping[str, str]
) -> list[tuple[int, str]]:
    """The pairs of a group and a person of before that share faces, the largest overlap first."""
    rows = np.flatnonzero(group >= 0).tolist()
    held = [previous.get(face_ids[row], "") for row in rows]
    people = sorted(set(held))
    code = {person: i for i, person in enumerate(people)}
    codes = np.fromiter(map(code.__getitem__, held), np.int64, len(held))
    pairs, counts = np.unique(group[rows] * len(people) + codes, return_counts=True)
    pairs = pairs[np.argsort(-counts, kind="stable")]
    found = zip((pairs // max(len(people), 1)).tolist(), (pairs % max(len(people), 1)).tolist(), strict=True)
    return [(number, people[code]) for number, code in found if people[code]]


def _new_id(face_id: str, reserved: set[str]) -> str:
    salt = 0
    while True:
        digest = hashlib.blake2b(f"{face_id}/{salt}".encode(), digest_size=5).hexdigest()
        if f"p-{digest}" not in reserved:
            return f"p-{digest}"
        salt += 1
