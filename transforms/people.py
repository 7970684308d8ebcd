"""People from groups: two faces in one photo are two people, weak faces come last.

Clear faces decide who there is. Weak ones (small, blurred, turned, uncertain) look like many people
a little, so they never hold two groups together: they attach afterwards (`attaching`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from models.calibration import USUAL_CONFIDENCE, Curve
from transforms.attaching import FAR, MARGIN, attach, loose_neighbours
from transforms.constraints import Constraints
from transforms.edge_files import Edges, chosen_edges, edge_slices
from transforms.enforcement import enforce, freed_photos, guided_by
from transforms.grouping import REACH, StrongFaces, group_strong, renumbered
from transforms.merging import group_means, row_products
from transforms.neighbours import NEIGHBOURS, NeighbourGraph, cosines, neighbour_graph

CORE, ATTACHED, UNGROUPED = "core", "attached", "ungrouped"

# Two faces in one photo this much alike are one face twice: a mirror, a collage, a photo in a photo.
# No pair of LFW's people in the learning half comes near it.
IDENTICAL = 0.9


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
    margin: float = MARGIN
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
    attached = keep(
        attach(faces.vectors, group, photo, near, threshold=threshold, margin=rules.margin, threads=threads)
    )
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
