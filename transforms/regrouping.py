"""One grouping after another: in full, on the kept graph with thresholds set anew, or as an increment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.calibration import Line
from transforms.constraints import Constraints
from transforms.decided_people import assign_decided
from transforms.increments import RENEWAL, Kept, Search, grown_graph, increment
from transforms.neighbours import NeighbourGraph, graph_within, nearest
from transforms.people import Assignment, FaceSet, WeakLimits, assign, clear_neighbours

FULL, RENEWED, INCREMENT = "full", "renewed on the kept graph", "increment"


@dataclass(frozen=True)
class Frozen:
    """What holds from one full grouping to the next: its `threshold`, how many `clear` faces there were,
    and the least similarity of an edge in the graph kept since."""

    threshold: float
    clear: int
    least: float


@dataclass(frozen=True)
class Regrouped:
    """A grouping, what it hands on, which `kind` it was and how many faces it `regrouped`; `graph` is None
    where it is too large to be kept."""

    found: Assignment
    graph: NeighbourGraph | None
    frozen: Frozen
    kind: str
    regrouped: int


def regroup(
    faces: FaceSet, constraints: Constraints, *, method: str, seed: int, limits: WeakLimits, line: Line,
    kept: Kept | None = None, frozen: Frozen | None = None, changed: np.ndarray | None = None,
    search: Search = nearest,
) -> Regrouped:  # fmt: skip
    """Groups faces, from what was kept of the revision before as far as that goes.

    `changed` int64[m]: faces about which corrections say something else than before; None where that is
    not known, or where everything is to be grouped anew.
    """
    clear = ~faces.weak(limits)
    count = int(clear.sum())
    threshold = line.at(count)
    if kept is not None and frozen is not None and frozen.least <= threshold:
        graph, kind = grown_graph(faces.vectors, kept, clear, least=frozen.least, search=search), RENEWED
        if changed is not None and count < RENEWAL * frozen.clear:
            kind, threshold = INCREMENT, frozen.threshold
    else:
        graph, kind = clear_neighbours(faces, least=threshold, limits=limits), FULL
        kept = None

    def group_part(part: FaceSet, edges: NeighbourGraph, local: Constraints) -> Assignment:
        return assign_decided(
            part, local,
            lambda these, said, rows: assign(
                these, method=method, threshold=threshold, seed=seed, limits=limits, constraints=said,
                graph=graph_within(edges, rows),
            ),
        )  # fmt: skip

    if kind == INCREMENT:
        assert kept is not None and frozen is not None and changed is not None
        found, regrouped = increment(
            faces, kept, graph, constraints, changed, group_part, threshold=threshold
        )
        return Regrouped(found, graph, frozen, kind, regrouped)
    found = group_part(faces, graph, constraints)
    least = frozen.least if kept is not None and frozen is not None else threshold
    return Regrouped(found, graph, Frozen(threshold, count, least), kind, len(clear))
