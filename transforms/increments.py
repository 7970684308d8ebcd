"""Growing groups: new faces against the kept neighbour graph, and only what they touch grouped anew.

A revision hands on the neighbour graph of its clear faces and its groups. Faces that come later are compared
with all others once; the people they are like, and the ungrouped faces they are like, are grouped again
together with them, by the same method and at the same threshold. Everyone else stays as they are. Once a
library has grown by `RENEWAL` since its last full grouping, thresholds are set anew and all of the graph is
grouped, still without searching it again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np

from transforms.constraints import Constraints
from transforms.neighbours import NeighbourGraph, graph_within, nearest
from transforms.people import NEIGHBOURS, Assignment, FaceSet

RENEWAL = 1.25

# The k most similar rows of a base for each query, as `transforms.neighbours.nearest` gives them exactly.
Search = Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Kept:
    """What the revision before hands on, by row among the faces of now.

    `known` bool[n]: faces that it knew; `group` int64[n] (-1: ungrouped or new), `role` str[n] and
    `confidence` float32[n] of these; `graph`: neighbours among the known clear faces.
    """

    known: np.ndarray
    group: np.ndarray
    role: np.ndarray
    confidence: np.ndarray
    graph: NeighbourGraph


def grown_graph(
    vectors: np.ndarray, kept: Kept, clear: np.ndarray, *, least: float, search: Search = nearest
) -> NeighbourGraph:
    """The kept graph with the new clear faces in it: each joined to its most similar clear faces.

    `vectors` float32[n, d]; `clear` bool[n].
    """
    rows = np.flatnonzero(clear)
    new = np.flatnonzero(clear & ~kept.known)
    inside = clear[kept.graph.left] & clear[kept.graph.right]
    old = kept.graph.filter(inside)
    if not len(new):
        return old
    index, similarity = search(vectors[new], vectors[rows], NEIGHBOURS + 1)
    source = np.repeat(new, index.shape[1])
    target, likeness = rows[index.ravel()], similarity.ravel()
    keep = (source != target) & (likeness >= least)
    left, right = np.minimum(source, target)[keep], np.maximum(source, target)[keep]
    _, first = np.unique(left * len(vectors) + right, return_index=True)
    return NeighbourGraph(
        len(vectors),
        np.concatenate([old.left, left[first].astype(np.int32)]),
        np.concatenate([old.right, right[first].astype(np.int32)]),
        np.concatenate([old.similarity, likeness[keep][first]]),
    )


def increment(
    faces: FaceSet, kept: Kept, graph: NeighbourGraph, constraints: Constraints, changed: np.ndarray,
    group_faces: Callable[[FaceSet, NeighbourGraph, Constraints], Assignment], *, threshold: float,
    search: Search = nearest,
) -> tuple[Assignment, int]:  # fmt: skip
    """The kept groups with new faces in them, and how many faces were grouped anew.

    `graph`: of all clear faces (`grown_graph`); `changed` int64[m]: faces about which the corrections say
    something else than before; `group_faces` groups a part of the faces.
    """
    region = touched(faces, kept, graph, constraints, changed, threshold, search)
    rows = np.flatnonzero(region)
    group, role, confidence = kept.group.copy(), kept.role.copy(), kept.confidence.copy()
    if len(rows):
        found = group_faces(part_of(faces, rows), graph_within(graph, rows), constraints.within(rows))
        first = int(group.max(initial=-1)) + 1
        group[rows] = np.where(found.group >= 0, found.group + first, -1)
        role[rows], confidence[rows] = found.role, found.confidence
    return _tidied(group, role, confidence, constraints), len(rows)


def touched(
    faces: FaceSet, kept: Kept, graph: NeighbourGraph, constraints: Constraints, changed: np.ndarray,
    threshold: float, search: Search = nearest,
) -> np.ndarray:  # fmt: skip
    """bool[n]: new faces, the people and ungrouped faces that are like one, and what corrections touch."""
    new = ~kept.known
    region = new.copy()
    region[changed] = True
    bias = faces.biases()
    near = graph.filter(new[graph.left] | new[graph.right])
    near = near.filter(near.similarity - (bias[near.left] + bias[near.right]) / 2 >= threshold)
    region[near.left] = region[near.right] = True
    loose = np.flatnonzero(kept.known & (kept.group < 0))
    if new.any() and len(loose):
        # Weak faces have no place in the graph, but may clearly fit a person who has grown.
        index, similarity = search(faces.vectors[new], faces.vectors[loose], NEIGHBOURS)
        likeness = similarity - (bias[new][:, None] + bias[loose[index]]) / 2
        region[loose[np.unique(index[likeness >= threshold])]] = True
    while True:
        groups = np.unique(kept.group[region])
        grown = region | (np.isin(kept.group, groups[groups >= 0]))
        for tie in constraints.ties:
            if grown[tie.faces].any():
                grown[tie.faces] = True
        if (grown == region).all():
            return region
        region = grown


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
