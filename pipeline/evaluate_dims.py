"""``albumen evaluate dims``: the paper's table 5, how many dimensions and bytes a face needs.

The projection is learnt on the people with an even SHA-256 of the name and measured on the others.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from pipeline.evaluate import in_learning_half
from pipeline.evaluation_page import (
    INTERVALS,
    EvaluationPage,
    Section,
    Table,
    hardly_measured,
    percent,
    with_interval,
    write_page,
)
from pipeline.labelled import Workplace, labelled_faces, opened_library, require_pairs, spec_of
from transforms.all_pairs import all_pairs
from transforms.bootstrap import Interval, val_intervals
from transforms.dimensions import learn_codec, learn_projection
from transforms.library import LibraryError
from transforms.verification import centred, different_pairs, has_pairs, limit_per_person

FAR = 1e-3
DIMENSIONS = (512, 256, 128, 64, 32)
_MOST_PHOTOS = 20
# FaceNet, table 5: VAL at FAR 1e-3 of NN1 on the hold-out set, percent.
_PAPER = {64: "86.8 ± 1.7", 128: "87.9 ± 1.9", 256: "87.7 ± 1.9", 512: "85.6 ± 2.0"}


@dataclass(frozen=True)
class Kept:
    """VAL of vectors kept in one way."""

    dimensions: int
    projected: bool
    byte: bool
    val: float
    interval: Interval
    val_few: float

    @property
    def bytes_a_face(self) -> int:
        """What a face costs."""
        return self.dimensions * (1 if self.byte else 4)


def dims(source: str, work: Workplace, *, labels: str | None = None) -> tuple[list[str], dict[str, object]]:
    """Runs the experiment on a folder or an indexed library, and writes its page."""
    library = opened_library(source, work)
    faces = labelled_faces(library, labels)
    half = np.array([in_learning_half(name) for name in faces.names])[faces.person]
    if half.all() or not half.any():
        raise LibraryError(
            f"{source} holds too few people to learn a projection on some, and judge on others: give "
            "photographs of more people"
        )
    require_pairs(faces.person[~half], source, of="the labelled faces of the half that is judged")
    centre = faces.vectors[half].mean(axis=0)
    vectors = centred(faces.vectors, centre)
    rows = measured(vectors[half], vectors[~half], faces.person[~half])
    warnings = hardly_measured(FAR, different_pairs(faces.person[~half]))
    beyond = [d for d in DIMENSIONS if d < vectors.shape[1] and d not in {r.dimensions for r in rows}]
    lines = [
        faces.counted,
        *(f"WARNING: {warning}" for warning in warnings),
        *(_described(r) for r in rows),
        *([_beyond(beyond, int(half.sum()))] if beyond else []),
    ]
    judged = len(np.unique(faces.person[~half]))
    page = EvaluationPage(
        name="dims",
        title="Dimensions and bytes of a face",
        data=f"{faces.counted}; learnt on {int(half.sum()):,} faces, measured on the {int((~half).sum()):,} "
        f"faces of {judged:,} other people",
        model=spec_of(library, work.embedder).name,
        fingerprint=str(library.info().fingerprint),
        sections=[_section(rows, _beyond(beyond, int(half.sum())) if beyond else "")],
        facts={
            "rows": [{**asdict(r), "bytes": r.bytes_a_face} for r in rows],
            "beyond_the_data": beyond,
            "warnings": warnings,
        },
        warnings=warnings,
    )
    return lines + write_page(page, work), dict(page.facts)


def measured(learnt: np.ndarray, vectors: np.ndarray, person: np.ndarray) -> list[Kept]:
    """VAL of `vectors` float32[n, d] of `person` int[n] as they are, and kept in every shorter way, by what
    float32[m, d] `learnt` teaches. Raises ValueError without pairs of both kinds."""
    full = vectors.shape[1]
    projection = learn_projection(learnt)
    rows = []
    for dimensions in dict.fromkeys([full, *(d for d in DIMENSIONS if d < full)]):
        if dimensions > len(projection.directions) and dimensions < full:
            continue
        projected = dimensions < full
        sample, used = ((projection.apply(v, dimensions) if projected else v) for v in (learnt, vectors))
        codec = learn_codec(sample)
        for byte in (False, True):
            kept = codec.decode(codec.encode(used)) if byte else used
            rows.append(_kept(kept, person, projected=projected, byte=byte))
    return rows


def _kept(vectors: np.ndarray, person: np.ndarray, *, projected: bool, byte: bool) -> Kept:
    few = limit_per_person(person, _MOST_PHOTOS)
    pairs, val_few = all_pairs(vectors, person, fars=[FAR]), float("nan")
    if has_pairs(person[few]):
        val_few = all_pairs(vectors[few], person[few], fars=[FAR]).at[FAR].val
    interval = val_intervals(pairs)[FAR]
    return Kept(vectors.shape[1], projected, byte, pairs.at[FAR].val, interval, val_few)


def _described(r: Kept) -> str:
    kind = "bytes" if r.byte else "floats"
    return (
        f"{r.dimensions:4} {kind:6} {r.bytes_a_face:5,} bytes a face: VAL at FAR 1e-3 "
        f"{with_interval(r.val, r.interval)}, people with at most {_MOST_PHOTOS} photos "
        f"{percent(r.val_few)}"
    )


def _beyond(dimensions: list[int], learnt: int) -> str:
    many = ", ".join(str(d) for d in dimensions)
    return f"Not measured: {many} dimensions, since {learnt:,} faces to learn from have no more directions."


def _section(rows: list[Kept], beyond: str) -> Section:
    columns = ["dimensions", "kept as", "bytes a face", "VAL at FAR 1e-3",
               f"VAL, people with at most {_MOST_PHOTOS} photos", "the paper's VAL"]  # fmt: skip
    table = [
        [
            str(r.dimensions),
            "bytes" if r.byte else "floats",
            f"{r.bytes_a_face:,}",
            with_interval(r.val, r.interval),
            percent(r.val_few),
            "" if r.byte else _PAPER.get(r.dimensions, ""),
        ]
        for r in rows
    ]
    note = (
        f"With {INTERVALS}. The paper trains a network for each number of "
        "dimensions and measures on its own hold-out set; it says that 128 dimensions fit into 128 bytes "
        "without loss."
    )
    wanted = next((r for r in rows if r.byte and r.bytes_a_face == 128), None)
    paragraphs = [
        "The first rows are the vectors as the network gives them; the others their principal components."
    ]
    if wanted is not None:
        lost = 100 * (rows[0].val - wanted.val)
        paragraphs.append(
            f"128 bytes a face in place of {rows[0].bytes_a_face:,} cost {lost:.2f} points of VAL at FAR "
            "1e-3."
        )
    paragraphs += [beyond] if beyond else []
    return Section("VAL by what is kept of a face", paragraphs, [Table(columns, table, note)])
