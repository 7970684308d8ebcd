"""What can be selected from a library, and what comes out: faces with their people and photos."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from transforms.library import Library, LibraryError


@dataclass(frozen=True)
class Selection:
    """Which faces. `people` are ids or names, none for all; photos `since` and before `until` (local
    wall-clock time; undated photos then stay out); `at_least` and `most` faces a person;
    `balanced`: of each person as many as of the one with fewest. What is taken follows from `seed`.
    `ungrouped` adds the faces of nobody, to which only the dates apply."""

    people: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    min_confidence: float = 0.0
    only_named: bool = False
    at_least: int = 1
    most: int | None = None
    balanced: bool = False
    seed: int = 0
    ungrouped: bool = False


@dataclass(frozen=True)
class SelectedFace:
    """One face with its photo and person (all three None: nobody). `box` is (x0, y0, x1, y1) in
    upright pixels and may reach out of the photo."""

    face_id: str
    person_id: str | None
    name: str | None
    label: str | None
    confidence: float | None
    role: str | None
    photo_id: str
    root: str
    path: str
    path_bytes: bytes
    taken_at: datetime | None
    width: int
    height: int
    box: tuple[float, float, float, float]
    score: float

    def inside(self) -> tuple[float, float, float, float]:
        """The part of the box that lies in the photo."""
        x0, y0, x1, y1 = self.box
        w, h = float(self.width), float(self.height)
        return min(max(x0, 0.0), w), min(max(y0, 0.0), h), min(max(x1, 0.0), w), min(max(y1, 0.0), h)


@dataclass(frozen=True)
class SelectedPhoto:
    """A photo with its selected faces, from left to right."""

    faces: tuple[SelectedFace, ...]

    @property
    def first(self) -> SelectedFace:
        """Any of the faces, for what they have in common."""
        return self.faces[0]


@dataclass(frozen=True)
class SelectedPerson:
    """A person of whom something is selected."""

    person_id: str
    name: str | None
    label: str
    faces: int


@dataclass(frozen=True)
class Grouping:
    """Whose face is whose: tables of `ASSIGNMENTS_SCHEMA` and `PEOPLE_SCHEMA`. With `paths`, a table of
    photo_id, root and path_bytes, these photos are taken, at these places; `left` (path, reason) are photos
    that should be and can't."""

    assignments: pa.Table
    people: pa.Table
    paths: pa.Table | None = None
    left: tuple[tuple[str, str], ...] = ()


def current_grouping(library: Library) -> Grouping:
    """The people of the current revision. Raises LibraryError where there is none."""
    revision = library.current_revision()
    if revision is None:
        raise LibraryError(f"{library.path} has not been grouped: albumen group {library.path}")
    return Grouping(library.read_assignments(revision), library.read_people(revision))
