"""``albumen evaluate groups``: does it work as well for everybody? An average hides it where it does not.

One distance for all, at FAR 1e-3 over all pairs; then VAL and FAR at that distance for each group of faces:
by the columns of a file of labels (age, skin tone, sex, year), or by what indexing measured of each face.
A pair belongs to a group when both its faces do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations

import numpy as np

from pipeline.evaluation_page import (
    INTERVALS,
    EvaluationPage,
    Section,
    Table,
    hardly_measured,
    with_interval,
    write_page,
)
from pipeline.faces_to_group import calibration
from pipeline.labelled import (
    LabelledFaces,
    Workplace,
    labelled_faces,
    opened_library,
    require_pairs,
    spec_of,
)
from pipeline.options import UsageError
from transforms.all_pairs import accepted_pairs, all_pairs
from transforms.bootstrap import Interval, pair_share_interval, share_interval
from transforms.verification import centred, different_pairs

_FAR = 1e-3
_LEAST_PEOPLE = 10  # with pairs of their own; fewer say nothing of a group
_MOST_GROUPS = 40
_TURNED = 20  # degrees of yaw from which a face counts as turned


@dataclass(frozen=True)
class GroupFigures:
    """VAL and FAR of one group at the common distance. `people` counts those who have pairs of their own."""

    name: str
    faces: int
    people: int
    val: float
    val_interval: Interval
    far: float
    far_interval: Interval

    @property
    def enough(self) -> bool:
        """Whether there are people enough to compare the group."""
        return self.people >= _LEAST_PEOPLE


def groups(
    source: str, labels: str | None, work: Workplace, *, measured: bool = False
) -> tuple[list[str], dict[str, object]]:
    """Runs the experiment on a folder or an indexed library, and writes its page.

    `labels` is a CSV file with photo, person and a column for each property; `measured` adds the size,
    sharpness and turn of the faces. Raises UsageError without any.
    """
    library = opened_library(source, work)
    faces = labelled_faces(library, labels)
    require_pairs(faces.person, source)
    columns = {**given_columns(faces), **(measured_columns(faces) if measured else {})}
    if not columns:
        raise UsageError("there is nothing to split by: give LABELS.csv with a column for it, or --measured")
    vectors = centred(faces.vectors, calibration(library, faces.vectors).centre)
    point = all_pairs(vectors, faces.person, fars=[_FAR]).at[_FAR]
    accepted = accepted_pairs(vectors, faces.person, point.distance)
    split = {name: split_by(values, faces.person, accepted) for name, values in columns.items()}
    warnings = hardly_measured(_FAR, different_pairs(faces.person))
    warnings += [w for name, rows in split.items() for w in differences(name, rows)]
    lines = [
        faces.counted,
        f"one distance for all: {point.distance:.3f}, VAL {point.val:.4f} at FAR {_FAR:.0e}",
    ]
    lines += [f"{name}: {described(row)}" for name, rows in split.items() for row in rows]
    lines += [f"WARNING: {warning}" for warning in warnings]
    page = EvaluationPage(
        name="groups",
        title="Is it as good for everybody?",
        data=f"{faces.counted}; split by {', '.join(columns)}",
        model=spec_of(library, work.embedder).name,
        fingerprint=str(library.info().fingerprint),
        sections=[_section(name, rows, point.distance, point.val) for name, rows in split.items()],
        facts={
            "distance": point.distance,
            "val": point.val,
            "groups": {name: [asdict(r) for r in rows] for name, rows in split.items()},
            "warnings": warnings,
        },
        warnings=warnings,
    )
    return lines + write_page(page, work), dict(page.facts)


def given_columns(faces: LabelledFaces) -> dict[str, list[str]]:
    """The further columns of the labels, by name; empty values are in no group."""
    names = dict.fromkeys(name for label in faces.labels for name in label.attributes)
    return {name: [label.attributes.get(name, "") for label in faces.labels] for name in names}


def measured_columns(faces: LabelledFaces) -> dict[str, list[str]]:
    """Thirds by size and by sharpness, and turned or frontal, as indexing measured them."""
    size = (faces.boxes[:, 2:] - faces.boxes[:, :2]).min(axis=1)
    turned = np.abs(faces.yaw) >= _TURNED
    return {
        "size of the face": _thirds(size, ("smallest", "middle", "largest")),
        "sharpness": _thirds(faces.sharpness, ("least sharp", "middle", "sharpest")),
        "turn of the head": [f"from {_TURNED}°" if t else f"below {_TURNED}°" for t in turned],
    }


def _thirds(values: np.ndarray, names: Sequence[str]) -> list[str]:
    low, high = np.quantile(values, [1 / 3, 2 / 3])
    return [f"{names[int(v > low) + int(v > high)]} third" for v in values]


def split_by(
    values: Sequence[str], person: np.ndarray, accepted: tuple[np.ndarray, np.ndarray]
) -> list[GroupFigures]:
    """The figures of each group. `values` and `person` int[n] are of the faces, `accepted` the pairs of rows
    (of one person, of two people) up to the common distance. Raises UsageError for too many groups."""
    names = sorted({v for v in values if v})
    if len(names) > _MOST_GROUPS:
        raise UsageError(
            f"a column with {len(names):,} different values makes no groups: give at most {_MOST_GROUPS}"
        )
    column = np.array(values, object)
    return [_figures(name, column == name, person, *accepted) for name in names]


def _figures(
    name: str, inside: np.ndarray, person: np.ndarray, same: np.ndarray, different: np.ndarray
) -> GroupFigures:
    ids, numbers, counts = np.unique(person[inside], return_inverse=True, return_counts=True)
    number_of = np.full(len(inside), -1)
    number_of[inside] = numbers
    mine = number_of[same[inside[same].all(axis=1)]][:, 0]
    others = number_of[different[inside[different].all(axis=1)]]
    hits = np.bincount(mine, minlength=len(ids)).astype(float)
    pairs = counts * (counts - 1) / 2
    all_different = (counts.sum() ** 2 - (counts**2).sum()) / 2
    return GroupFigures(
        name=name,
        faces=int(inside.sum()),
        people=int((pairs > 0).sum()),
        val=float(hits.sum() / pairs.sum()) if pairs.sum() else float("nan"),
        val_interval=share_interval(hits, pairs),
        far=float(len(others) / all_different) if all_different else float("nan"),
        far_interval=pair_share_interval(others, counts),
    )


def differences(column: str, rows: Sequence[GroupFigures]) -> list[str]:
    """A sentence for each pair of groups that differ by more than chance explains: whose intervals do not
    overlap."""
    found = []
    for a, b in combinations([r for r in rows if r.enough], 2):
        if a.val_interval.apart_from(b.val_interval):
            worse, better = sorted((a, b), key=lambda r: r.val)
            found.append(
                f"{column}: people are recognised less often in the group {worse.name!r} (VAL "
                f"{100 * worse.val:.1f} %) than in {better.name!r} ({100 * better.val:.1f} %)"
            )
        if a.far_interval.apart_from(b.far_interval):
            better, worse = sorted((a, b), key=lambda r: r.far)
            found.append(
                f"{column}: strangers are confused more often in the group {worse.name!r} (FAR "
                f"{worse.far:.1e}) than in {better.name!r} ({better.far:.1e})"
            )
    return found


def described(r: GroupFigures) -> str:
    """One group as a line."""
    few = "" if r.enough else f", too few to compare (fewer than {_LEAST_PEOPLE} people)"
    return (
        f"{r.name}: {r.faces:,} faces, {r.people:,} people with pairs, VAL "
        f"{with_interval(r.val, r.val_interval)}, FAR {r.far:.1e} ({r.far_interval.low:.1e} to "
        f"{r.far_interval.high:.1e}){few}"
    )


def _section(column: str, rows: Sequence[GroupFigures], distance: float, val: float) -> Section:
    table = [
        [
            r.name,
            f"{r.faces:,}",
            f"{r.people:,}" + ("" if r.enough else ", too few to compare"),
            with_interval(r.val, r.val_interval),
            f"{r.far:.1e} ({r.far_interval.low:.1e} to {r.far_interval.high:.1e})",
        ]
        for r in rows
    ]
    note = (
        f"At one squared distance for all, {distance:.3f}: FAR {_FAR:.0e} and VAL {100 * val:.2f} % over "
        f"all pairs; {INTERVALS}. With many groups some intervals part by chance "
        "alone."
    )
    columns = ["group", "faces", "people with pairs", "VAL", "FAR"]
    return Section(f"By {column}", tables=[Table(columns, table, note)])
