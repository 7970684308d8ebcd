"""One grouping after another: in full, on the kept graph with thresholds set anew, or as an increment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from models.calibration import USUAL_CONFIDENCE, Curve, Line
from transforms.constraints import Constraints
from transforms.grouping import DEFAULT, REACH
from transforms.increments import RENEWAL, Growth, Kept, increment, joined
from transforms.neighbours import NEIGHBOURS, NeighbourGraph, undirected
from transforms.people import (
    Assignment,
    FaceSet,
    Rules,
    WeakLimits,
    assign,
    clear_neighbours,
)

if TYPE_CHECKING:
    from transforms.edge_lists import Directed

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


@dataclass(frozen=True)
class Search:
    """How neighbours are found, each edge once: `whole` (faces, least, limits) → those of all clear faces at
    least; `among` (faces, least, rows, base) → those of int64[m] rows among int64[b] base.

    With `along` the whole graph has weak faces in it too, who then attach along it; it is not kept.
    `threads` may find groups in it; what is made of its edges lies in the local `folder`, where there is one.
    """

    whole: Callable[[FaceSet, float, WeakLimits], NeighbourGraph]
    among: Callable[[FaceSet, float, np.ndarray, np.ndarray], NeighbourGraph]
    along: bool = False
    threads: int = 1
    folder: str | None = None


def exact_search(threads: int = 1) -> Search:
    """All pairs are compared: for libraries in memory."""
    return Search(
        lambda faces, least, limits: clear_neighbours(faces, least=least, limits=limits, threads=threads),
        partial(neighbours_of, threads=threads),
        threads=threads,
    )


def neighbours_of(
    faces: FaceSet, least: float, rows: np.ndarray, base: np.ndarray | None = None, **how
) -> NeighbourGraph:
    """The neighbours of int64[m] `rows` among int64[b] `base`, or all faces, each edge once, with bursts
    collapsed as far as the rows tell of them.

    `how`: see `probe_search.neighbours_among`.
    """
    from transforms.bursts import MORE, past_bursts  # on use: compiles
    from transforms.probe_search import neighbours_among

    count, bias = len(faces.vectors), faces.biases()
    listed = NEIGHBOURS + MORE

    def among(rows: np.ndarray, base: np.ndarray | None) -> Directed:
        return neighbours_among(faces.vectors, rows, listed, least=least, bias=bias, base=base, **how)

    others = np.full(count, base is None)
    if base is not None:
        others[base] = True
    found, _ = past_bursts(among(rows, base), others, NEIGHBOURS, held=listed, bias=bias, again=among)
    return undirected(count, found)


def regroup(
    faces: FaceSet, constraints: Constraints, *, method: str, seed: int, line: Line, rules: Rules = Rules(),
    curve: Curve = USUAL_CONFIDENCE, people: int | None = None,
    kept: Kept | None = None, frozen: Frozen | None = None, changed: np.ndarray | None = None,
    search: Search | None = None,
) -> Regrouped:  # fmt: skip
    """Groups faces, from what was kept of the revision before as far as that goes.

    `changed` int64[m]: faces about which corrections say something else than before; None where that is
    not known, or where everything is to be grouped anew. Increments are the default method's alone: what
    puts groups together by their means belongs to it.
    """
    search, faces = search or exact_search(), faces.without(constraints.absent)
    clear = ~faces.weak(rules.limits)
    count = int(clear.sum())
    threshold = line.at(count)
    least = threshold - REACH
    graph: NeighbourGraph | None = None
    if kept is not None and frozen is not None:
        # A kept graph has clear faces alone: where weak ones attach along the graph it would not do.
        known = None if search.along else kept.graph
        little = count < RENEWAL * frozen.clear
        grows = little and changed is not None and method == DEFAULT and rules.merge
        if grows or (known is not None and (little or frozen.least <= least)):
            least = frozen.least
            among = partial(search.among, faces, least)
            asked = clear if known is None else clear & _first_of_bursts(known, faces.biases())
            near = partial(_near_all, among, clear, asked)
            # A weak face has no place in the graph, but may attach to someone.
            new = np.flatnonzero(~kept.known & (clear | grows))
            fresh = near(new) if grows else among(new, np.flatnonzero(asked))
            graph = _grown(known, fresh, clear) if known is not None else None
            if grows:
                assert changed is not None
                found, regrouped = increment(
                    faces, kept, fresh, constraints, changed, near=near,
                    how=Growth(frozen.threshold, seed, rules, curve),
                )  # fmt: skip
                return Regrouped(found, graph, frozen, INCREMENT, regrouped)
    kind = FULL if graph is None else RENEWED
    edges = search.whole(faces, least, rules.limits) if graph is None else graph
    found = assign(
        faces, method=method, threshold=threshold, seed=seed, rules=rules, curve=curve, people=people,
        constraints=constraints, graph=edges, attach_along=edges if search.along else None,
        threads=search.threads, folder=search.folder,
    )  # fmt: skip
    return Regrouped(
        found, None if search.along else edges, Frozen(threshold, count, least), kind, len(clear)
    )


def _first_of_bursts(graph: NeighbourGraph, bias: np.ndarray) -> np.ndarray:
    """bool[n]: who stands for themselves, as far as the `graph` tells of bursts."""
    from transforms.bursts import bursts_of  # on use: compiles

    return bursts_of(graph, bias) == np.arange(graph.faces)


def _near_all(
    among: Callable[[np.ndarray, np.ndarray], NeighbourGraph], clear: np.ndarray, asked: np.ndarray,
    rows: np.ndarray,
) -> NeighbourGraph:  # fmt: skip
    """The neighbours of int64[m] `rows`, who are new or stand alone, among all faces: of each the clear ones
    that are `asked` bool[n], and of those that are `clear` bool[n] the weak ones who may attach to them. In
    one list blurred faces, which lie close together, would keep each other from finding clear ones."""
    found = among(rows, np.flatnonzero(asked))
    return joined(found, among(rows[clear[rows]], np.flatnonzero(~clear)))


def _grown(graph: NeighbourGraph, fresh: NeighbourGraph, clear: np.ndarray) -> NeighbourGraph:
    """The kept graph with the new clear faces in it: each joined to its most similar clear faces."""
    graph, fresh = (g.filter(clear[g.left] & clear[g.right]) for g in (graph, fresh))
    return joined(graph, fresh)
