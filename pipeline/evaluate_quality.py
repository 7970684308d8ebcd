"""``albumen evaluate quality``: the paper's table 4, VAL against JPEG quality and the size of the face.

Every face is compressed or shrunk, both faces of every pair alike, embedded anew, and VAL measured at its
own distance for FAR 1e-3. On a sample of people, since every condition costs an embedding of every face.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from pipeline.evaluate import name_hash
from pipeline.evaluation_page import (
    INTERVALS,
    EvaluationPage,
    Line,
    Plot,
    Section,
    Table,
    hardly_measured,
    line_plot,
    with_interval,
    write_page,
)
from pipeline.face_vectors import FaceVectors
from pipeline.faces_to_group import calibration
from pipeline.labelled import LabelledFaces, Workplace, labelled_faces, opened_library, require_pairs
from transforms.all_pairs import all_pairs
from transforms.bootstrap import Interval, val_intervals
from transforms.face_view import FaceView
from transforms.verification import centred, different_pairs

FAR = 1e-3
QUALITIES = (10, 20, 30, 50, 70, 90)
SIZES = (1600, 6400, 14400, 25600, 65536)
# FaceNet, table 4: VAL at FAR 1e-3 of NN1 on the first split of the hold-out set, percent.
_PAPER_QUALITY = {10: 67.3, 20: 81.4, 30: 83.9, 50: 85.5, 70: 86.1, 90: 86.5}
_PAPER_SIZE = {1600: 37.8, 6400: 79.5, 14400: 84.5, 25600: 85.7, 65536: 86.4}
_MOST_PHOTOS = 10
# A size that fewer faces than this share have cannot be judged: they are not enlarged.
_LEAST_SHARE = 0.5


@dataclass(frozen=True)
class Condition:
    """One row of the table: what was done, the share of faces that it applies to, and VAL."""

    name: str
    value: int
    reached: float
    val: float
    interval: Interval


def quality(
    source: str, work: Workplace, *, labels: str | None = None, most: int = 2000
) -> tuple[list[str], dict[str, object]]:
    """Runs the experiment on a folder or an indexed library with about `most` faces, and writes its page."""
    library = opened_library(source, work)
    every = labelled_faces(library, labels)
    faces = every.select(sampled(every, most))
    require_pairs(faces.person, source, of="the faces of people with two photos and more")
    vectors = FaceVectors(faces, work)
    centre = calibration(library, every.vectors).centre
    pixels = vectors.pixels()
    base = _measured("as they are", 0, 1.0, centred(vectors.as_indexed(FaceView()), centre), faces)
    by_quality = [
        _measured(
            "JPEG quality", q, 1.0, centred(vectors.as_indexed(FaceView(jpeg_quality=q)), centre), faces
        )
        for q in QUALITIES
    ]
    by_size, beyond = [], []
    for size in SIZES:
        reached = float((pixels >= size).mean())
        if reached < _LEAST_SHARE:
            beyond.append((size, reached))
            continue
        shrunk = centred(vectors.as_indexed(FaceView(pixels=size)), centre)
        by_size.append(_measured("pixels", size, reached, shrunk, faces))
    rows = [base, *by_quality, *by_size]
    people = len(np.unique(faces.person))
    warnings = hardly_measured(FAR, different_pairs(faces.person))
    data = (
        f"{every.counted}; of these {len(faces):,} faces of {people:,} people with two photos and more, at "
        f"most {_MOST_PHOTOS} each, in order of the hash of the name"
    )
    lines = [
        data,
        *(f"WARNING: {warning}" for warning in warnings),
        *(f"{c.name} {c.value or '':6} VAL {with_interval(c.val, c.interval)}" for c in rows),
    ]
    page = EvaluationPage(
        name="quality",
        title="Sensitivity to image quality",
        data=data,
        model=vectors.spec.name,
        fingerprint=str(library.info().fingerprint),
        sections=[_quality_section(base, by_quality), _size_section(base, by_size, beyond, pixels)],
        facts={
            "rows": [asdict(c) for c in rows],
            "median_pixels": float(np.median(pixels)),
            "beyond_the_data": [{"pixels": s, "share": r} for s, r in beyond],
            "warnings": warnings,
        },
        warnings=warnings,
    )
    return lines + write_page(page, work), dict(page.facts)


def sampled(faces: LabelledFaces, most: int) -> np.ndarray:
    """int[m]: about `most` faces of whole people with two photos and more, at most 10 each, in an order that
    has nothing to do with names."""
    order = sorted(range(len(faces.names)), key=lambda p: name_hash(faces.names[p]))
    rows_of: dict[int, list[int]] = {}
    for row, person in enumerate(faces.person.tolist()):
        rows_of.setdefault(person, []).append(row)
    rows: list[int] = []
    for person in order:
        mine = rows_of.get(person, [])
        if len(mine) >= 2 and len(rows) < most:
            rows += mine[:_MOST_PHOTOS]
    return np.array(sorted(rows), np.int64)


def _measured(name: str, value: int, reached: float, vectors: np.ndarray, faces: LabelledFaces) -> Condition:
    pairs = all_pairs(vectors, faces.person, fars=[FAR])
    return Condition(name, value, reached, pairs.at[FAR].val, val_intervals(pairs)[FAR])


_NOTE = (
    f"VAL at FAR 1e-3 with {INTERVALS}; the paper's on its own hold-out set. "
    "Faces are found and aligned in the photograph as it is: only what the network sees is changed, in "
    "both faces of a pair."
)


def _quality_section(base: Condition, rows: list[Condition]) -> Section:
    table = [[str(c.value), with_interval(c.val, c.interval), f"{_PAPER_QUALITY[c.value]} %"] for c in rows]
    table.append(["as they are", with_interval(base.val, base.interval), ""])
    text = (
        "The photograph around the face is compressed once more; what it lost before, when it was taken and "
        "published, is not undone, so high qualities here are not those of an untouched photograph."
    )
    lines = [_line("Albumen", rows), Line("FaceNet, on its own data", *_points(_PAPER_QUALITY), marked=True)]
    plot = line_plot(lines, x="JPEG quality", y="VAL at FAR 1e-3", y_range=(0, 1.01), x_ticks=QUALITIES)
    return Section(
        "JPEG quality",
        [text],
        [Table(["quality", "VAL", "the paper's VAL"], table, _NOTE)],
        [Plot("quality-jpeg.svg", "VAL over JPEG quality", plot)],
    )


def _size_section(
    base: Condition, rows: list[Condition], beyond: list[tuple[int, float]], pixels: np.ndarray
) -> Section:
    table = [
        [
            f"{c.value:,}",
            f"{100 * c.reached:.0f} %",
            with_interval(c.val, c.interval),
            f"{_PAPER_SIZE[c.value]} %",
        ]
        for c in rows
    ]
    table += [[f"{s:,}", f"{100 * r:.0f} %", "beyond the data", f"{_PAPER_SIZE[s]} %"] for s, r in beyond]
    table.append(
        [f"as they are (median {np.median(pixels):,.0f})", "", with_interval(base.val, base.interval), ""]
    )
    text = (
        "The size is the number of pixels of the photograph that the crop shows. Faces are shrunk to it "
        "and never enlarged, so these data end at their own size: a row that fewer than half of the faces "
        "reach is not measured."
    )
    lines = [_line("Albumen", rows), Line("FaceNet, on its own data", *_points(_PAPER_SIZE), marked=True)]
    plot = line_plot(
        lines, x="pixels of the face", y="VAL at FAR 1e-3", log_x=True, y_range=(0, 1.01), x_ticks=SIZES
    )
    return Section(
        "Size of the face",
        [text],
        [Table(["pixels", "faces that have them", "VAL", "the paper's VAL"], table, _NOTE)],
        [Plot("quality-size.svg", "VAL over the size of the face", plot)],
    )


def _line(label: str, rows: list[Condition]) -> Line:
    return Line(
        label,
        [c.value for c in rows],
        [c.val for c in rows],
        [c.interval.low for c in rows],
        [c.interval.high for c in rows],
        marked=True,
    )


def _points(paper: dict[int, float]) -> tuple[list[float], list[float]]:
    return [float(x) for x in paper], [v / 100 for v in paper.values()]
