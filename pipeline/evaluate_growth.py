"""``albumen evaluate growth``: an archive that grows step by step, against one grouping of all of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median

import numpy as np

from pipeline.evaluation_page import EvaluationPage, Section, Table, write_page
from pipeline.faces_to_group import read_face_set, threshold_line
from pipeline.labelled import Workplace, embedder_name, labelled_photos
from transforms.clustering_scores import clustering_scores
from transforms.constraints import Constraints
from transforms.increments import Kept, part_of
from transforms.library import Library
from transforms.neighbours import NeighbourGraph
from transforms.people import FaceSet
from transforms.regrouping import Regrouped, regroup

_NOTHING = np.zeros(0, np.int64)
_TURNS = 5


def growth(
    library: Library, *, steps: int, method: str, seed: int, work: Workplace
) -> tuple[list[str], dict[str, object]]:
    """Groups a labelled library whose photos come in `steps` equal parts, in random order.

    Times are processor seconds of grouping alone, from vectors in memory to groups: medians of some turns
    of all steps and of one grouping of everything, side by side.
    """
    labelled = labelled_photos(library)
    _, faces, known = read_face_set(library)
    photo = faces.photo
    grouped = partial(
        regroup, constraints=Constraints(), method=method, seed=seed,
        line=threshold_line(known, method), curve=known.confidence,
    )  # fmt: skip
    arrival = np.random.default_rng(seed).permutation(photo.max() + 1) * steps // (photo.max() + 1)
    rows = [np.flatnonzero(arrival[photo] <= step) for step in range(steps)]
    grouped(part_of(faces, np.arange(min(500, len(photo)))))  # imports, buffers
    turns = [(_steps(grouped, faces, rows), _timed(grouped, faces)) for _ in range(_TURNS)]
    grown, (once, _) = turns[-1]
    parts: list[dict[str, object]] = [
        {
            "faces": len(rows[step]), "kind": found.kind, "regrouped": found.regrouped,
            "seconds": median(all_steps[step][1] for all_steps, _ in turns),
        }
        for step, (found, _) in enumerate(grown)
    ]  # fmt: skip
    scores = {
        name: clustering_scores(labelled.people, _labels(found, labelled.face)).bcubed_f
        for name, found in (("steps", grown[-1][0]), ("once", once))
    }
    totals = [(sum(seconds for _, seconds in all_steps), whole) for all_steps, (_, whole) in turns]
    total, whole = (median(column) for column in zip(*totals, strict=True))
    cost = median(stepwise / at_once for stepwise, at_once in totals)
    lines = [
        f"{p['faces']:>9,} faces: {p['kind']:24} {p['regrouped']:>9,} faces grouped, {p['seconds']:6.2f} s"
        for p in parts
    ]
    lines += [
        f"In {steps} steps BCubed F {scores['steps']:.4f} in {total:.1f} s of processor time; "
        f"at once {scores['once']:.4f} in {whole:.1f} s: {cost:.2f} times the cost, "
        f"{100 * (scores['steps'] - scores['once']):+.2f} points."
    ]
    facts: dict[str, object] = {
        "steps": parts, "bcubed_f": scores, "seconds": {"steps": total, "once": whole}, "cost": cost,
        "turns": totals,
    }  # fmt: skip
    page = EvaluationPage(
        name="growth",
        title="An archive that grows",
        data=f"{len(labelled.people):,} labelled photos with {len(photo):,} faces; method {method}, "
        f"seed {seed}",
        model=embedder_name(library),
        fingerprint=library.info().fingerprint or "",
        sections=[_section(parts, scores, whole, total, cost)],
        facts=facts,
    )
    return lines + write_page(page, work), facts


def _section(
    parts: list[dict[str, object]], scores: dict[str, float], whole: float, total: float, cost: float
) -> Section:
    rows = [[f"{p['faces']:,}", str(p["kind"]), f"{p['regrouped']:,}", f"{p['seconds']:.2f}"] for p in parts]
    rows += [
        ["all steps", f"BCubed F {scores['steps']:.4f}", "", f"{total:.2f}"],
        ["at once", f"BCubed F {scores['once']:.4f}", "", f"{whole:.2f}"],
    ]
    return Section(
        "Step by step",
        [
            f"Photos come in {len(parts)} equal parts in random order. Processor seconds are of grouping, "
            f"from vectors in memory to groups, one thread, medians of {_TURNS} turns; BCubed F is of all "
            "labelled faces, at the end.",
            f"The steps cost {cost:.2f} times one grouping of all, and end "
            f"{100 * (scores['steps'] - scores['once']):+.2f} points from it.",
        ],
        [Table(("faces", "kind of grouping", "faces grouped anew", "processor seconds"), rows)],
    )


def _steps(
    grouped: Callable[..., Regrouped], faces: FaceSet, rows: Sequence[np.ndarray]
) -> list[tuple[Regrouped, float]]:
    """Grouping after grouping, each of more faces, with their processor seconds."""
    found: list[tuple[Regrouped, float]] = []
    for step, grown in enumerate(rows):
        before = found[-1][0] if found else None
        kept = handed_on(before, rows[step - 1], grown) if before is not None else None
        frozen = before.frozen if before is not None else None
        found.append(_timed(grouped, part_of(faces, grown), kept=kept, frozen=frozen, changed=_NOTHING))
    return found


def _timed(grouped: Callable[..., Regrouped], faces: FaceSet, **how) -> tuple[Regrouped, float]:
    started = time.process_time()
    return grouped(faces, **how), time.process_time() - started


def handed_on(result: Regrouped, rows: np.ndarray, grown: np.ndarray) -> Kept:
    """What a grouping of `rows` hands on to one of `grown`, all rows of the whole library."""
    place = np.searchsorted(grown, rows)
    known = np.zeros(len(grown), bool)
    known[place] = True
    group, role = np.full(len(grown), -1, np.int64), np.full(len(grown), "ungrouped", object)
    confidence = np.zeros(len(grown), np.float32)
    group[place], role[place], confidence[place] = (
        result.found.group, result.found.role, result.found.confidence,
    )  # fmt: skip
    graph, place = result.graph, place.astype(np.int32)
    edges = graph and NeighbourGraph(len(grown), place[graph.left], place[graph.right], graph.similarity)
    return Kept(known, group, role, confidence, edges)


def _labels(result: Regrouped, face: np.ndarray) -> np.ndarray:
    """A group for every labelled photo; who is ungrouped or has no face is alone."""
    group = np.where(face >= 0, result.found.group[face], -1)
    return np.where(group >= 0, group, -1 - np.arange(len(group)))
