"""``albumen group``: faces → people."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from models.calibration import FROM_LIBRARY, Calibration, Line
from pipeline.faces_to_group import (
    ReadyFaces,
    calibration,
    faces_in_memory,
    read_embeddings,
    read_features,
    shipped_for,
    threshold_line,
)
from pipeline.forget import finish_forgetting
from pipeline.group_parameters import parameters
from pipeline.options import UsageError, cores
from pipeline.search_neighbours import EXACT_FACES, SearchSettings
from transforms.decided_people import corrected, renewed_anchors
from transforms.decisions import changed_faces, read_decisions
from transforms.grouping import KMEANS, REACH
from transforms.increments import RENEWAL, Kept
from transforms.kept_groups import read_kept, remove_old_graphs, write_graph
from transforms.library import Library, LibraryError
from transforms.people import FaceSet, Rules
from transforms.people_tables import assignments_table, people_table, taken_times
from transforms.present_rows import FaceOrder
from transforms.regrouping import INCREMENT, Frozen, Regrouped, regroup
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
from transforms.tables import FACE_ID, PHOTO_ID

if TYPE_CHECKING:
    from pipeline.group_in_files import Observer


# What the edges of a kept graph say; earlier ones said the cosine.
_NEIGHBOURS = "cosine less biases"


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
    overlap: Overlap
    corrections: int = 0
    problems: tuple[str, ...] = ()
    names_without_person: tuple[str, ...] = ()
    kind: str = ""
    regrouped: int = 0


def is_current(library: Library, *, method: str, seed: int, number: int | None = None) -> bool:
    """Whether the current revision was made from just these faces in just this way."""
    revision = library.current_revision()
    if revision is None:
        return False
    made = library.read_grouping(revision)
    wanted = {
        "method": method,
        "seed": seed,
        "number": number,
        "faces_state": library.faces_state(),
        "corrections_state": library.corrections_state(),
    }
    return all(made.get(key) == value for key, value in wanted.items())


def group_library(
    library: Library, *, method: str, seed: int, number: int | None = None, full: bool = False,
    settings: SearchSettings | None = None, observe: Observer | None = None,
) -> GroupSummary:  # fmt: skip
    """Writes a new revision of the library's people; `number` is how many, for k-means alone.

    The caller holds the lease. Where the revision before kept its graph and was made in the same way,
    only what new faces and new corrections touch is grouped anew, unless `full`. `settings` say with how
    much memory and how many threads a large library is searched; `observe` sees its graph where it is
    grouped in full.

    Raises LibraryError where nothing has been indexed, and UsageError for k-means without a number.
    """
    started = time.monotonic()
    if (method == KMEANS) != (number is not None):
        raise UsageError("--method kmeans needs the number of people (--people K); other methods find it")
    finish_forgetting(library)
    if library.info().fingerprint is None:
        raise LibraryError(f"{library.path} holds no photos yet: albumen index ARCHIVE {library.path}")
    table, faces, order = read_features(library)
    id_column, rules = table[FACE_ID].combine_chunks(), Rules()
    state, successors = library.corrections_state(), Successors.of(library, id_column)
    decisions = read_decisions(library, id_column, successors=successors)
    constraints = decisions.constraints
    settings = settings or SearchSettings(seed=seed, threads=cores())
    known = _calibration(library, faces.photo, order, method, full)
    kept, frozen, before = (None, None, None)
    if not full:
        kept, frozen, before = _kept(library, id_column, successors, method, known, rules, number)
    with _ready(library, faces, order, known, settings, observe) as ready:
        begun = time.monotonic()
        result = regroup(
            ready.faces, constraints, method=method, seed=seed, rules=rules,
            line=threshold_line(known, method), curve=known.confidence, people=number, kept=kept,
            frozen=frozen, changed=None if before is None else changed_faces(decisions, before),
            search=ready.search,
        )  # fmt: skip
        search = {**ready.facts, "regrouping": round(time.monotonic() - begun, 1)}
    found, threshold = result.found, result.frozen.threshold
    revision, past = library.next_revision(), Past.of(library, successors)
    face_ids = id_column.to_pylist()
    ids = continued_ids(face_ids, found.group, past)
    names, corrected_names, lost_names = given_names(ids, found.group, constraints, past)
    # The cover: large, sharp, looking at the camera, and surely this person.
    beauty = np.minimum(faces.size, 400) * np.cos(np.radians(faces.yaw)) * found.confidence * faces.score
    people = people_table(
        table[FACE_ID], found.group, ids, faces.photo, taken_times(library, table[PHOTO_ID]), beauty,
        names, ignored_ids(ids, found.group, constraints),
    )  # fmt: skip
    seconds = time.monotonic() - started
    sizes = np.bincount(found.group[found.group >= 0]) if len(ids) else np.zeros(1, np.int64)
    summary = GroupSummary(
        revision=revision, method=method, threshold=threshold, faces=len(table), people=len(ids),
        ungrouped=int((found.group < 0).sum()), largest=int(sizes.max()), seconds=seconds, ran=found.ran,
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
        grouping=_facts(library, summary, known, rules, seed, number)
        | {
            "faces_state": library.state_of(table),
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


def _ready(
    library: Library,
    faces: FaceSet,
    order: FaceOrder,
    known: Calibration,
    settings: SearchSettings,
    observe: Observer | None,
) -> AbstractContextManager[ReadyFaces]:
    """The faces with their vectors, in memory or in files."""
    if len(faces.photo) <= EXACT_FACES:
        return nullcontext(faces_in_memory(library, faces, known, threads=settings.running_threads()))
    from pipeline.group_in_files import faces_in_files  # Beam and compilers, for large libraries

    return faces_in_files(library, faces, order, known, settings=settings, observe=observe)


def _calibration(
    library: Library, photo: np.ndarray, order: FaceOrder, method: str, full: bool
) -> Calibration:
    """The shipped one, or what was learnt from the library itself at the last full grouping; else it is
    learnt now."""
    shipped = shipped_for(library)
    if shipped is not None:
        return shipped
    revision = library.current_revision()
    made = library.read_grouping(revision) if revision and not full else {}
    line, centre = made.get("threshold_line"), made.get("centre")
    same = made.get("method") == method and made.get("fingerprint") == library.info().fingerprint
    same = same and made.get("calibration") == FROM_LIBRARY and isinstance(made.get("frozen"), dict)
    if same and isinstance(line, dict) and len(photo) < RENEWAL * float(str(made.get("faces_at_full", 0))):
        return Calibration(np.array(centre, np.float32), {method: Line(**line)}, FROM_LIBRARY)
    if len(photo) <= EXACT_FACES:
        return calibration(library, read_embeddings(library), photo)
    from pipeline.group_in_files import sampled_embeddings

    rows, embeddings = sampled_embeddings(library, order)
    return calibration(library, embeddings, photo[rows])


def _faces_at_full(library: Library, result: Regrouped, faces: int) -> int:
    if result.kind != INCREMENT:
        return faces
    made = library.read_grouping(library.current_revision() or "")
    return int(str(made.get("faces_at_full", faces)))


def _kept(
    library: Library,
    face_ids: pa.Array,
    successors: Successors,
    method: str,
    known: Calibration,
    rules: Rules,
    number: int | None,
) -> tuple[Kept | None, Frozen | None, list[str] | None]:
    """What the current revision hands on, with the corrections that held in it; nothing where it was made
    in another way, so that its groups or its graph would not do."""
    revision = library.current_revision()
    made = library.read_grouping(revision) if revision else {}
    centre = [round(float(x), 6) for x in known.centre]
    same = made.get("method") == method and made.get("fingerprint") == library.info().fingerprint
    same = same and made.get("weak_limits") == asdict(rules.limits)
    same = same and made.get("reach") == REACH and made.get("margin") == rules.margin
    same = same and made.get("neighbours") == _NEIGHBOURS
    # K-means divides all faces into a given number of people: there is no part to group anew.
    same = same and number is None
    if not same or made.get("centre") != centre or not isinstance(made.get("frozen"), dict):
        return None, None, None
    kept = read_kept(library, face_ids, successors)
    frozen, before = made["frozen"], made.get("effective_corrections")
    assert isinstance(frozen, dict) and isinstance(before, list)
    return kept, Frozen(**frozen), before


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
        "fingerprint": library.info().fingerprint,
        "calibration": known.source,
        "cohort": len(known.cohort.vectors) if known.cohort else 0,
        "threshold_line": {"intercept": line.intercept, "slope": line.slope},
        "weak_limits": asdict(rules.limits),
        "margin": rules.margin,
        "reach": REACH,
        "neighbours": _NEIGHBOURS,
        "parameters": parameters(summary.method, rules, number),
        "centre": [round(float(x), 6) for x in known.centre],
    }
