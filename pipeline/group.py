"""``albumen group``: faces → people."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from datetime import datetime, timezone

import numpy as np
import pyarrow as pa

from models.calibration import Calibration, Line, learnt_from_library, shipped_calibration
from pipeline.options import UsageError
from transforms.grouping import DEFAULT, KMEANS, THRESHOLD_METHODS
from transforms.library import Library, LibraryError
from transforms.people import Assignment, FaceSet, Rules, assign, person_ids
from transforms.tables import (
    ASSIGNMENTS_SCHEMA,
    CONFIDENCE,
    COVER,
    EMBEDDING,
    FACE_ID,
    FACE_SIZE,
    FACES,
    FIRST_TAKEN,
    LAST_TAKEN,
    NAME,
    PEOPLE_SCHEMA,
    PERSON_ID,
    PHOTO_ID,
    PHOTOS_COUNT,
    ROLE,
    SCORE,
    SHARPNESS,
    SOURCE,
    TAKEN_AT,
    YAW,
    matrix,
)
from transforms.verification import centred

_GROUPED_BY = "grouping"


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
    ran: str


def is_current(library: Library, *, method: str, seed: int, number: int | None = None) -> bool:
    """Whether the current revision was made from just these faces in just this way."""
    revision = library.current_revision()
    if revision is None:
        return False
    made = library.read_grouping(revision)
    wanted = {"method": method, "seed": seed, "number": number, "faces_state": library.faces_state()}
    return all(made.get(key) == value for key, value in wanted.items())


def calibration(library: Library, embeddings: np.ndarray, photo: np.ndarray | None = None) -> Calibration:
    """The shipped calibration of the library's embedder, else one learnt from the library itself.

    int[n] `photo` tells which faces lie in one photo.
    """
    settings = library.info().settings or {}
    embedder = settings.get("embedder")
    shipped = shipped_calibration(embedder) if isinstance(embedder, dict) else None
    return shipped or learnt_from_library(embeddings, list(THRESHOLD_METHODS), photo)


def read_face_set(library: Library) -> tuple[pa.Table, FaceSet, Calibration]:
    """All faces, as the library has them and ready to be grouped."""
    columns = [FACE_ID, PHOTO_ID, FACE_SIZE, SCORE, YAW, SHARPNESS, EMBEDDING]
    table = library.read_faces(columns)
    embeddings = matrix(table[EMBEDDING])
    photo = (
        np.unique(table[PHOTO_ID].to_numpy(), return_inverse=True)[1] if len(table) else np.zeros(0, np.int64)
    )
    known = calibration(library, embeddings, photo)
    vectors = centred(embeddings, known.centre)
    size, score, yaw, sharpness = (table[c].to_numpy() for c in (FACE_SIZE, SCORE, YAW, SHARPNESS))
    bias = known.cohort.bias(vectors) if known.cohort else None
    return table, FaceSet(vectors, photo, size, score, yaw, sharpness, bias), known


def threshold_line(known: Calibration, method: str) -> Line:
    """The threshold of a method; one without a threshold of its own attaches faces at the default's."""
    return known.thresholds.get(method) or known.thresholds[DEFAULT]


def group_library(library: Library, *, method: str, seed: int, number: int | None = None) -> GroupSummary:
    """Writes a new revision of the library's people; `number` is how many, for k-means alone.

    The caller holds the lease. Raises LibraryError where nothing has been indexed, and UsageError for
    k-means without a number.
    """
    started = time.monotonic()
    if (method == KMEANS) != (number is not None):
        raise UsageError("--method kmeans needs the number of people (--people K); other methods find it")
    if library.info().fingerprint is None:
        raise LibraryError(f"{library.path} holds no photos yet: albumen index ARCHIVE {library.path}")
    table, faces, known = read_face_set(library)
    rules = Rules()
    threshold = threshold_line(known, method).at(int((~faces.weak(rules.limits)).sum()))
    found = assign(
        faces, method=method, threshold=threshold, seed=seed, rules=rules, curve=known.confidence,
        people=number,
    )  # fmt: skip
    revision = library.next_revision()
    face_ids = table[FACE_ID].to_pylist()
    ids = person_ids(face_ids, found.group, _previous(library))
    people = _people_table(library, table, found, ids, faces)
    seconds = time.monotonic() - started
    sizes = np.bincount(found.group[found.group >= 0]) if len(ids) else np.zeros(1, np.int64)
    summary = GroupSummary(
        revision=revision, method=method, threshold=threshold, faces=len(table), people=len(ids),
        ungrouped=int((found.group < 0).sum()), largest=int(sizes.max()), seconds=seconds, ran=found.ran,
    )  # fmt: skip
    library.write_revision(
        revision,
        assignments=_assignments_table(face_ids, found, ids),
        people=people,
        grouping=_facts(library, summary, known, rules, seed, number),
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


def _assignments_table(face_ids: list[str], found: Assignment, ids: list[str]) -> pa.Table:
    people = [ids[g] if g >= 0 else None for g in found.group.tolist()]
    data = {
        FACE_ID: face_ids,
        PERSON_ID: people,
        CONFIDENCE: found.confidence.tolist(),
        ROLE: found.role.tolist(),
        SOURCE: [_GROUPED_BY] * len(face_ids),
    }
    return pa.table(data, schema=ASSIGNMENTS_SCHEMA)


def _people_table(
    library: Library, table: pa.Table, found: Assignment, ids: list[str], faces: FaceSet
) -> pa.Table:
    """People, the largest first."""
    photos = library.read_photos([PHOTO_ID, TAKEN_AT])
    taken = dict(zip(photos[PHOTO_ID].to_pylist(), photos[TAKEN_AT].to_pylist(), strict=True))
    names, photo_ids, face_ids = _names(library), table[PHOTO_ID].to_pylist(), table[FACE_ID].to_pylist()
    # The cover: large, sharp, looking at the camera, and surely this person.
    beauty = np.minimum(faces.size, 400) * np.cos(np.radians(faces.yaw)) * found.confidence * faces.score
    order = np.argsort(found.group, kind="stable")
    bounds = np.searchsorted(found.group[order], np.arange(len(ids) + 1))
    rows = []
    for number, person in enumerate(ids):
        members = order[bounds[number] : bounds[number + 1]]
        shown = {photo_ids[m] for m in members}
        times = [t for t in (taken.get(p) for p in shown) if t is not None]
        rows.append(
            {
                PERSON_ID: person,
                NAME: names.get(person),
                FACES: len(members),
                PHOTOS_COUNT: len(shown),
                FIRST_TAKEN: min(times, default=None),
                LAST_TAKEN: max(times, default=None),
                COVER: face_ids[members[int(np.argmax(beauty[members]))]],
            }
        )
    rows.sort(key=lambda row: (-row[FACES], row[PERSON_ID]))
    return pa.Table.from_pylist(rows, schema=PEOPLE_SCHEMA)


def _facts(
    library: Library, summary: GroupSummary, known: Calibration, rules: Rules, seed: int, number: int | None
) -> dict[str, object]:
    """What ``grouping.json`` keeps: enough to see how a revision was made, and to make it again."""
    line = threshold_line(known, summary.method)
    return {
        **asdict(summary),
        "seed": seed,
        "number": number,
        "made_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "faces_state": library.faces_state(),
        "fingerprint": library.info().fingerprint,
        "calibration": known.source,
        "cohort": len(known.cohort.vectors) if known.cohort else 0,
        "threshold_line": {"intercept": line.intercept, "slope": line.slope},
        "weak_limits": asdict(rules.limits),
        "margin": rules.margin,
        "centre": [round(float(x), 6) for x in known.centre],
    }
