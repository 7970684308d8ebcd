"""``albumen evaluate growth``: an archive that grows step by step, against one grouping of all of it."""

from __future__ import annotations

import time
from functools import partial

import numpy as np

from pipeline.evaluation_page import EvaluationPage, Section, Table, write_page
from pipeline.faces_to_group import read_face_set, threshold_line
from pipeline.labelled import Workplace, embedder_name, labelled_photos
from transforms.clustering_scores import clustering_scores
from transforms.constraints import Constraints
from transforms.increments import Kept, part_of
from transforms.library import Library
from transforms.neighbours import NeighbourGraph
from transforms.regrouping import INCREMENT, Regrouped, regroup

_NOTHING = np.zeros(0, np.int64)


def growth(
    library: Library, *, steps: int, method: str, seed: int, work: Workplace
) -> tuple[list[str], dict[str, object]]:
    """Groups a labelled library whose photos come in `steps` equal parts, in random order.

    Times are processor seconds of grouping alone, from vectors in memory to groups.
    """
    labelled = labelled_photos(library)
    _, faces, known = read_face_set(library)
    photo = faces.photo
    grouped = partial(
        regroup, constraints=Constraints(), method=method, seed=seed,
        line=threshold_line(known, method), curve=known.confidence,
    )  # fmt: skip
    grouped(part_of(faces, np.arange(min(500, len(photo)))))  # imports, buffers
    started = time.process_time()
    once = grouped(faces)
    whole = time.process_time() - started
    arrival = np.random.default_rng(seed).permutation(photo.max() + 1) * steps // (photo.max() + 1)
    lines: list[str] = []
    parts: list[dict[str, object]] = []
    result: Regrouped | None = None
    rows = _NOTHING
    for step in range(steps):
        grown = np.flatnonzero(arrival[photo] <= step)
        kept = handed_on(result, rows, grown) if result is not None else None
        frozen = result.frozen if result is not None else None
        started = time.process_time()
        result = grouped(part_of(faces, grown), kept=kept, frozen=frozen, changed=_NOTHING)
        seconds = time.process_time() - started
        rows = grown
        parts.append(
            {"faces": len(rows), "kind": result.kind, "regrouped": result.regrouped, "seconds": seconds}
        )
        lines.append(
            f"{len(rows):>9,} faces: {result.kind:24} {result.regrouped:>9,} faces grouped, {seconds:6.1f} s"
        )
    assert result is not None
    scores = {
        name: clustering_scores(labelled.people, _labels(found, labelled.face)).bcubed_f
        for name, found in (("steps", result), ("once", once))
    }
    total = sum(float(str(p["seconds"])) for p in parts)
    increments = [float(str(p["seconds"])) for p in parts if p["kind"] == INCREMENT]
    lines += [
        f"In {steps} steps BCubed F {scores['steps']:.4f} in {total:.1f} s of processor time; "
        f"at once {scores['once']:.4f} in {whole:.1f} s: {total / whole:.2f} times the cost, "
        f"{100 * (scores['steps'] - scores['once']):+.2f} points."
    ]
    facts: dict[str, object] = {
        "steps": parts, "bcubed_f": scores, "seconds": {"steps": total, "once": whole},
        "seconds_of_increments": increments,
    }  # fmt: skip
    page = EvaluationPage(
        name="growth",
        title="An archive that grows",
        data=f"{len(labelled.people):,} labelled photos with {len(photo):,} faces; method {method}, "
        f"seed {seed}",
        model=embedder_name(library),
        fingerprint=library.info().fingerprint or "",
        sections=[_section(parts, scores, whole, total)],
        facts=facts,
    )
    return lines + write_page(page, work), facts


def _section(parts: list[dict[str, object]], scores: dict[str, float], whole: float, total: float) -> Section:
    rows = [[f"{p['faces']:,}", str(p["kind"]), f"{p['regrouped']:,}", f"{p['seconds']:.1f}"] for p in parts]
    rows += [
        ["all steps", f"BCubed F {scores['steps']:.4f}", "", f"{total:.1f}"],
        ["at once", f"BCubed F {scores['once']:.4f}", "", f"{whole:.1f}"],
    ]
    return Section(
        "Step by step",
        [
            f"Photos come in {len(parts)} equal parts in random order. Processor seconds are of grouping, "
            "from vectors in memory to groups, one thread; BCubed F is of all labelled faces, at the end.",
            f"The steps cost {total / whole:.2f} times one grouping of all, and end "
            f"{100 * (scores['steps'] - scores['once']):+.2f} points from it.",
        ],
        [Table(("faces", "kind of grouping", "faces grouped anew", "processor seconds"), rows)],
    )


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
