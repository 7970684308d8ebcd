"""``albumen group``: faces → people."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from models.calibration import (
    FROM_LIBRARY,
    Calibration,
    Line,
    learnt_from_library,
    shipped_calibration,
)
from pipeline.forget import finish_forgetting
from pipeline.options import cores
from pipeline.search_neighbours import EXACT_FACES, SearchSettings
from transforms.decided_people import corrected, renewed_anchors
from transforms.decisions import Decisions, changed_faces, read_decisions
from transforms.grouping import METHODS
from transforms.increments import RENEWAL, Kept
from transforms.kept_groups import read_kept, remove_old_graphs, write_graph
from transforms.library import Library, LibraryError
from transforms.people import FaceSet, WeakLimits
from transforms.people_tables import assignments_table, people_table, photo_numbers, taken_times
from transforms.regrouping import FULL, INCREMENT, Frozen, Regrouped, regroup
from transforms.succession import (
    Overlap,
    Past,
    continued_ids,
    given_names,
    gone_people,
    ignored_ids,
    overlap,
)
from transforms.successors import Successors
from transforms.tables import (
    EMBEDDING,
    FACE_ID,
    FACE_SIZE,
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
    overlap: Overlap
    corrections: int = 0
    problems: tuple[str, ...] = ()
    names_without_person: tuple[str, ...] = ()
    kind: str = ""
    regrouped: int = 0


def is_current(library: Library, *, method: str, seed: int) -> bool:
    """Whether the current revision was made from just these faces in just this way."""
    revision = library.current_revision()
    if revision is None:
        return False
    made = library.read_grouping(revision)
    wanted = {
        "method": method,
        "seed": seed,
        "faces_state": library.faces_state(),
        "corrections_state": library.corrections_state(),
    }
    return all(made.get(key) == value for key, value in wanted.items())


def calibration(library: Library, embeddings: np.ndarray) -> Calibration:
    """The shipped calibration of the library's embedder, else one learnt from the library itself."""
    settings = library.info().settings or {}
    embedder = settings.get("embedder")
    shipped = shipped_calibration(embedder) if isinstance(embedder, dict) else None
    return shipped or learnt_from_library(embeddings, list(METHODS))


def group_library(
    library: Library, *, method: str, seed: int, full: bool = False,
    settings: SearchSettings | None = None, observe: Observer | None = None,
) -> GroupSummary:  # fmt: skip
    """Writes a new revision of the library's people. The caller holds the lease.

    Where the revision before kept its graph and was made in the same way, only what new faces and new
    corrections touch is grouped anew, unless `full`. `settings` say with how much memory and how many
    threads a large library is searched, which is always grouped in full; `observe` sees its graph.

    Raises LibraryError where nothing has been indexed.
    """
    started = time.monotonic()
    finish_forgetting(library)
    if library.info().fingerprint is None:
        raise LibraryError(f"{library.path} holds no photos yet: albumen index ARCHIVE {library.path}")
    table = library.read_faces([FACE_ID, PHOTO_ID, FACE_SIZE, SCORE, YAW, SHARPNESS])
    id_column, photo = table[FACE_ID].combine_chunks(), photo_numbers(table)
    size, score, yaw, sharpness = (table[c].to_numpy() for c in (FACE_SIZE, SCORE, YAW, SHARPNESS))
    faces = FaceSet(np.zeros((len(table), 0), np.float32), photo, size, score, yaw, sharpness)
    limits = WeakLimits()
    state, successors = library.corrections_state(), Successors.of(library, id_column)
    decisions = read_decisions(library, id_column, successors=successors)
    constraints = decisions.constraints
    if len(table) <= EXACT_FACES:
        known, result = _grouped_in_memory(
            library, id_column, faces, decisions, successors, method=method, seed=seed, limits=limits,
            full=full,
        )  # fmt: skip
        search: dict[str, object] = {"exact": True}
    else:
        from pipeline.group_in_files import group_in_files  # Beam and compilers, for large libraries

        in_files = group_in_files(
            library, table[FACE_ID], faces.weak(limits), photo, method=method, seed=seed,
            settings=settings or SearchSettings(seed=seed, threads=cores()), constraints=constraints,
            calibrate=partial(calibration, library), observe=observe,
        )  # fmt: skip
        known, search = in_files.known, in_files.facts
        result = Regrouped(in_files.assignment, None, in_files.frozen, FULL, len(table))
    found, threshold = result.found, result.frozen.threshold
    revision, past = library.next_revision(), Past.of(library, successors)
    face_ids = id_column.to_pylist()
    ids = continued_ids(face_ids, found.group, past)
    names, corrected_names, lost_names = given_names(ids, found.group, constraints, past)
    # The cover: large, sharp, looking at the camera, and surely this person.
    beauty = np.minimum(size, 400) * np.cos(np.radians(yaw)) * found.confidence * score
    people = people_table(
        table[FACE_ID], found.group, ids, photo, taken_times(library, table[PHOTO_ID]), beauty, names,
        ignored_ids(ids, found.group, constraints),
    )  # fmt: skip
    seconds = time.monotonic() - started
    sizes = np.bincount(found.group[found.group >= 0]) if len(ids) else np.zeros(1, np.int64)
    summary = GroupSummary(
        revision=revision, method=method, threshold=threshold, faces=len(table), people=len(ids),
        ungrouped=int((found.group < 0).sum()), largest=int(sizes.max()), seconds=seconds,
        overlap=overlap(past, id_column, found.group, ids), corrections=len(decisions.corrections),
        problems=tuple(str(p) for p in decisions.problems), names_without_person=tuple(lost_names),
        kind=result.kind, regrouped=result.regrouped,
    )  # fmt: skip
    if result.graph is not None:
        write_graph(library, revision, result.graph)
    library.write_revision(
        revision,
        assignments=assignments_table(table[FACE_ID], found, ids, corrected(constraints, len(face_ids))),
        people=people,
        grouping=_facts(library, summary, known, limits, seed)
        | {
            "corrections_state": state,
            "named_by_corrections": corrected_names,
            "effective_corrections": list(decisions.effective),
            "frozen": asdict(result.frozen),
            "faces_at_full": _faces_at_full(library, result, len(face_ids)),
            "search": search,
        },
        gone=gone_people(past, ids),
        anchors=renewed_anchors(decisions, face_ids, found),
    )
    remove_old_graphs(library)
    return summary


def _grouped_in_memory(
    library: Library, face_ids: pa.Array, faces: FaceSet, decisions: Decisions, successors: Successors,
    *, method: str, seed: int, limits: WeakLimits, full: bool,
) -> tuple[Calibration, Regrouped]:  # fmt: skip
    """Groups the faces, given without their vectors, from what the revision before kept."""
    embeddings = matrix(library.read_faces([EMBEDDING])[EMBEDDING])
    known = _calibration(library, embeddings, method, full)
    kept, frozen, before = (None, None, None)
    if not full:
        kept, frozen, before = _kept(library, face_ids, successors, method, known)
    changed = None if before is None else changed_faces(decisions, before)
    result = regroup(
        replace(faces, vectors=centred(embeddings, known.centre)), decisions.constraints, method=method,
        seed=seed, limits=limits, line=known.thresholds[method], kept=kept, frozen=frozen, changed=changed,
    )  # fmt: skip
    return known, result


def _calibration(library: Library, embeddings: np.ndarray, method: str, full: bool) -> Calibration:
    """As `calibration`, but what was learnt from the library itself holds until the next full grouping."""
    revision = library.current_revision()
    made = library.read_grouping(revision) if revision else {}
    frozen, line, centre = made.get("frozen"), made.get("threshold_line"), made.get("centre")
    found = calibration(library, embeddings)
    if full or found.source != made.get("calibration") or found.source != FROM_LIBRARY:
        return found
    same = made.get("method") == method and made.get("fingerprint") == library.info().fingerprint
    if not same or not isinstance(frozen, dict) or not isinstance(line, dict):
        return found
    if len(embeddings) >= RENEWAL * float(str(made.get("faces_at_full", 0))):
        return found
    return Calibration(np.array(centre, np.float32), {method: Line(**line)}, found.source)


def _faces_at_full(library: Library, result: Regrouped, faces: int) -> int:
    if result.kind != INCREMENT:
        return faces
    made = library.read_grouping(library.current_revision() or "")
    return int(str(made.get("faces_at_full", faces)))


def _kept(
    library: Library, face_ids: pa.Array, successors: Successors, method: str, known: Calibration
) -> tuple[Kept | None, Frozen | None, list[str] | None]:
    """What the current revision hands on, with the corrections that held in it; nothing where it was made
    in another way, so that its groups or its graph would not do."""
    revision = library.current_revision()
    made = library.read_grouping(revision) if revision else {}
    centre = [round(float(x), 6) for x in known.centre]
    same = made.get("method") == method and made.get("fingerprint") == library.info().fingerprint
    same = same and made.get("weak_limits") == asdict(WeakLimits())
    if not same or made.get("centre") != centre or not isinstance(made.get("frozen"), dict):
        return None, None, None
    kept = read_kept(library, face_ids, successors)
    frozen, before = made["frozen"], made.get("effective_corrections")
    assert isinstance(frozen, dict) and isinstance(before, list)
    return kept, Frozen(**frozen), before


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
