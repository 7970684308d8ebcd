"""What a library knows of people, for who only reads it, and asks about a few faces of many."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.calibration import Cohort, learnt_from_library, shipped_calibration
from transforms.grouping import DEFAULT
from transforms.library import Library
from transforms.records import printable
from transforms.tables import FACE_ID, NAME, PATH_BYTES, PERSON_ID, PHOTO_ID


@dataclass(frozen=True)
class Grouped:
    """How faces were grouped: the `centre` float32[d] that is taken away, the threshold on similarity, and
    the cohort of strangers that similarity is measured with, where there is one."""

    centre: np.ndarray
    threshold: float
    cohort: Cohort | None = None


def how_grouped(library: Library, dimensions: int) -> Grouped:
    """As the current revision says; before the first grouping what is known of the embedder."""
    embedder = (library.info().settings or {}).get("embedder")
    shipped = shipped_calibration(embedder) if isinstance(embedder, dict) else None
    known = shipped or learnt_from_library(np.zeros((0, dimensions), np.float32), [DEFAULT])
    revision = library.current_revision()
    made = library.read_grouping(revision) if revision is not None else {}
    centre, threshold = np.array(made.get("centre", []), np.float32), made.get("threshold")
    if not isinstance(threshold, float):
        threshold = known.thresholds[DEFAULT].at(len(library.read_faces([FACE_ID])))
    cohort = known.cohort if revision is None or made.get("cohort") else None
    return Grouped(centre if centre.shape == (dimensions,) else known.centre, threshold, cohort)


def people_of(library: Library, face_ids: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
    """(face_id → person_id of the faces that are grouped, person_id → name of the people who have one)."""
    revision = library.current_revision()
    if revision is None:
        return {}, {}
    assigned = _among(library.read_assignments(revision).select([FACE_ID, PERSON_ID]), FACE_ID, face_ids)
    pairs = zip(assigned[FACE_ID].to_pylist(), assigned[PERSON_ID].to_pylist(), strict=True)
    person_of = {face: person for face, person in pairs if person is not None}
    people = _among(library.read_people(revision), PERSON_ID, person_of.values())
    named = zip(people[PERSON_ID].to_pylist(), people[NAME].to_pylist(), strict=True)
    return person_of, {person: name for person, name in named if name is not None}


def photo_paths(library: Library, face_ids: Iterable[str]) -> dict[str, str]:
    """face_id → path of its photo, as text that can be printed."""
    photo_of = {face: face.rpartition(":")[0] for face in face_ids}
    table = _among(library.read_photos([PHOTO_ID, PATH_BYTES]), PHOTO_ID, photo_of.values())
    pairs = zip(table[PHOTO_ID].to_pylist(), table[PATH_BYTES].to_pylist(), strict=True)
    paths = {photo: printable(path) for photo, path in pairs}
    return {face: paths[photo] for face, photo in photo_of.items() if photo in paths}


def _among(table: pa.Table, column: str, values: Iterable[str]) -> pa.Table:
    return table.filter(pc.is_in(table[column], value_set=pa.array(list(values), pa.string())))
