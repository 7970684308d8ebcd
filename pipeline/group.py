"""``albumen group``: faces → people."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from models.calibration import Calibration, learnt_from_library, shipped_calibration
from pipeline.options import cores
from pipeline.search_neighbours import EXACT_FACES, SearchSettings
from transforms.grouping import METHODS
from transforms.library import Library, LibraryError
from transforms.people import FaceSet, WeakLimits, assign, person_ids
from transforms.people_tables import assignments_table, people_table, photo_numbers, taken_times
from transforms.tables import (
    EMBEDDING,
    FACE_ID,
    FACE_SIZE,
    NAME,
    PERSON_ID,
    PHOTO_ID,
    SCORE,
    SHARPNESS,
    YAW,
    matrix,
)
from transforms.verification import centred

if TYPE_CHECKING:
    from pipeline.group_in_files import Observer


@dataclass(frozen=True)
class GroupSummary:
    """What a grouping found."""

    revision: str
    method: str
    threshold: float
    faces: int
    people: int
    ungrouped: int
    largest: int
    seconds: float


def is_current(library: Library, *, method: str, seed: int) -> bool:
    """Whether the current revision was made from just these faces in just this way."""
    revision = library.current_revision()
    if revision is None:
        return False
    made = library.read_grouping(revision)
    wanted = {"method": method, "seed": seed, "faces_state": library.faces_state()}
    return all(made.get(key) == value for key, value in wanted.items())


def calibration(library: Library, embeddings: np.ndarray) -> Calibration:
    """The shipped calibration of the library's embedder, else one learnt from the library itself."""
    settings = library.info().settings or {}
    embedder = settings.get("embedder")
    shipped = shipped_calibration(embedder) if isinstance(embedder, dict) else None
    return shipped or learnt_from_library(embeddings, list(METHODS))


def group_library(
    library: Library,
    *,
    method: str,
    seed: int,
    settings: SearchSettings | None = None,
    observe: Observer | None = None,
) -> GroupSummary:
    """Writes a new revision of the library's people. The caller holds the lease.

    `settings` say with how much memory and how many threads a large library is searched; `observe`
    sees its neighbour graph.
    Raises LibraryError where nothing has been indexed.
    """
    started = time.monotonic()
    if library.info().fingerprint is None:
        raise LibraryError(f"{library.path} holds no photos yet: albumen index ARCHIVE {library.path}")
    settings = settings or SearchSettings(seed=seed, threads=cores())
    table = library.read_faces([FACE_ID, PHOTO_ID, FACE_SIZE, SCORE, YAW, SHARPNESS])
    photo = photo_numbers(table)
    size, score, yaw, sharpness = (table[c].to_numpy() for c in (FACE_SIZE, SCORE, YAW, SHARPNESS))
    limits = WeakLimits()
    search: dict[str, object]
    if len(table) <= EXACT_FACES:
        embeddings = matrix(library.read_faces([EMBEDDING])[EMBEDDING])
        known = calibration(library, embeddings)
        faces = FaceSet(centred(embeddings, known.centre), photo, size, score, yaw, sharpness)
        threshold = known.thresholds[method].at(int((~faces.weak(limits)).sum()))
        found = assign(faces, method=method, threshold=threshold, seed=seed, limits=limits)
        search = {"exact": True}
    else:
        from pipeline.group_in_files import group_in_files  # Beam and compilers, for large libraries

        faces = FaceSet(np.zeros((len(table), 0), np.float32), photo, size, score, yaw, sharpness)
        in_files = group_in_files(
            library, table[FACE_ID], faces.weak(limits), photo, method=method, seed=seed,
            settings=settings, calibrate=partial(calibration, library), observe=observe,
        )  # fmt: skip
        known, threshold, found = in_files.known, in_files.threshold, in_files.assignment
        search = in_files.facts
    revision = library.next_revision()
    ids = person_ids(table[FACE_ID].to_pylist(), found.group, _previous(library))
    # The cover: large, sharp, looking at the camera, and surely this person.
    beauty = np.minimum(faces.size, 400) * np.cos(np.radians(faces.yaw)) * found.confidence * faces.score
    people = people_table(
        table[FACE_ID],
        found.group,
        ids,
        photo,
        taken_times(library, table[PHOTO_ID]),
        beauty,
        _names(library),
    )
    seconds = time.monotonic() - started
    sizes = np.bincount(found.group[found.group >= 0]) if len(ids) else np.zeros(1, np.int64)
    summary = GroupSummary(
        revision=revision, method=method, threshold=threshold, faces=len(table), people=len(ids),
        ungrouped=int((found.group < 0).sum()), largest=int(sizes.max()), seconds=seconds,
    )  # fmt: skip
    library.write_revision(
        revision,
        assignments=assignments_table(table[FACE_ID], found, ids),
        people=people,
        grouping={**_facts(library, summary, known, limits, seed), "search": search},
    )
    return summary


def _previous(library: Library) -> dict[str, str]:
    """face_id → person_id of the revision before."""
    revision = library.current_revision()
    if revision is None:
        return {}
    table = library.read_assignments(revision)
    pairs = zip(table[FACE_ID].to_pylist(), table[PERSON_ID].to_pylist(), strict=True)
    return {face: person for face, person in pairs if person is not None}


def _names(library: Library) -> dict[str, str]:
    """person_id → name of the revision before, for those who have one."""
    revision = library.current_revision()
    if revision is None:
        return {}
    table = library.read_people(revision)
    pairs = zip(table[PERSON_ID].to_pylist(), table[NAME].to_pylist(), strict=True)
    return {person: name for person, name in pairs if name is not None}


def _facts(
    library: Library, summary: GroupSummary, known: Calibration, limits: WeakLimits, seed: int
) -> dict[str, object]:
    """What ``grouping.json`` keeps: enough to see how a revision was made, and to make it again."""
    line = known.thresholds[summary.method]
    return {
        **asdict(summary),
        "seed": seed,
        "made_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "faces_state": library.faces_state(),
        "fingerprint": library.info().fingerprint,
        "calibration": known.source,
        "threshold_line": {"intercept": line.intercept, "slope": line.slope},
        "weak_limits": asdict(limits),
        "centre": [round(float(x), 6) for x in known.centre],
    }
