"""What a library knows of people, for who only reads it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.calibration import learnt_from_library, shipped_calibration
from transforms.grouping import DEFAULT
from transforms.library import Library
from transforms.records import printable
from transforms.tables import FACE_ID, NAME, PATH_BYTES, PERSON_ID, PHOTO_ID


@dataclass(frozen=True)
class Known:
    """What a library knows of people: the centre to take away, the threshold on cosine of its grouping, the
    person of each grouped face, and the name of each person who has one."""

    centre: np.ndarray
    threshold: float
    person_of: dict[str, str]
    names: dict[str, str | None]


def known_people(library: Library, dimensions: int) -> Known:
    """The people of the current revision; before the first grouping nobody, and the embedder's own centre."""
    faces = len(library.read_faces([FACE_ID]))
    shipped = shipped_calibration(dict((library.info().settings or {}).get("embedder") or {}))  # type: ignore
    known = shipped or learnt_from_library(np.zeros((0, dimensions), np.float32), [DEFAULT])
    revision = library.current_revision()
    if revision is None:
        return Known(known.centre, known.thresholds[DEFAULT].at(faces), {}, {})
    assigned = library.read_assignments(revision)
    pairs = zip(assigned[FACE_ID].to_pylist(), assigned[PERSON_ID].to_pylist(), strict=True)
    people = library.read_people(revision)
    made = library.read_grouping(revision)
    centre = np.array(made.get("centre", []), np.float32)
    value = made.get("threshold")
    return Known(
        centre=centre if centre.shape == (dimensions,) else known.centre,
        threshold=value if isinstance(value, float) else known.thresholds[DEFAULT].at(faces),
        person_of={face: person for face, person in pairs if person is not None},
        names=dict(zip(people[PERSON_ID].to_pylist(), people[NAME].to_pylist(), strict=True)),
    )


def photo_paths(library: Library) -> dict[str, str]:
    """photo_id → path, as text that can be printed."""
    table = library.read_photos([PHOTO_ID, PATH_BYTES])
    pairs = zip(table[PHOTO_ID].to_pylist(), table[PATH_BYTES].to_pylist(), strict=True)
    return {photo: printable(path) for photo, path in pairs}
