"""``albumen stats``: what a library holds, and what would be most useful to know from its owner."""

from __future__ import annotations

import os
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.estimate import size
from transforms import storage
from transforms.decisions import read_decisions, rows_among
from transforms.export_records import export_records
from transforms.library import Library, LibraryError
from transforms.people import FaceSet, WeakLimits
from transforms.questions import MEMBER, MERGE, Question, questions
from transforms.records import ERROR, NO_FACE, OK, SKIPPED
from transforms.tables import (
    EMBEDDING,
    FACE_ID,
    FACE_SIZE,
    NAME,
    PATH,
    PERSON_ID,
    PHOTO_ID,
    REASON,
    ROOT,
    SCORE,
    SHARPNESS,
    STATUS,
    TAKEN_AT,
    YAW,
    matrix,
)
from transforms.verification import centred

_REASONS = 5
_WORTH_NAMING = 1_000_000


def stats(library: Library) -> tuple[list[str], dict[str, object]]:
    """What a library holds: photos, faces, people, and what that takes on disk."""
    about_photos, photos = _photo_counts(library)
    about_people, people = _people_counts(library)
    lines = [*about_photos, *about_people]
    sizes = _bytes_on_disk(library)
    if sizes:
        parts = sorted((item for item in sizes.items() if item[1] >= _WORTH_NAMING), key=lambda i: -i[1])
        named = ", ".join(f"{name} {size(number)}" for name, number in parts)
        lines.append(f"On disk: {size(sum(sizes.values()))}{': ' if parts else ''}{named}.")
    folders = [record.folder for record in export_records(library)]
    lines += [f"Exports and pages on record: {', '.join(folders)}."] if folders else []
    return lines, {**photos, **people, "bytes": sizes, "exports": folders}


def _photo_counts(library: Library) -> tuple[list[str], dict[str, object]]:
    table = library.read_photos([ROOT, STATUS, REASON, TAKEN_AT])
    counts = {v["values"]: v["counts"] for v in pc.value_counts(table[STATUS]).to_pylist()}
    dated = table.filter(pc.is_in(table[STATUS], value_set=pa.array([OK, NO_FACE])))[TAKEN_AT]
    days = pc.min_max(dated).as_py()
    first, last = (day.date().isoformat() if day else None for day in (days["min"], days["max"]))
    undated = f" ({dated.null_count:,} undated)" if dated.null_count else ""
    taken = f"; taken {first} to {last}{undated}" if first else ""
    lines = [
        f"{len(table):,} files: {counts.get(OK, 0):,} photos with faces, {counts.get(NO_FACE, 0):,} without, "
        f"{counts.get(SKIPPED, 0):,} not photographs, {counts.get(ERROR, 0):,} with errors{taken}."
    ]
    archives = {}
    for name, location in library.info().roots.items():
        there = storage.is_url(location) or os.path.isdir(location)
        archives[name] = {"location": location, "files": pc.sum(pc.equal(table[ROOT], name)).as_py() or 0}
        lines.append(
            f"Archive {name}: {archives[name]['files']:,} files of {location}"
            f"{'' if there else ', which is not there now'}."
        )
    reasons = pc.value_counts(table.filter(pc.equal(table[STATUS], ERROR))[REASON]).to_pylist()
    for reason in sorted(reasons, key=lambda r: -r["counts"])[:_REASONS]:
        lines.append(f"{reason['counts']:,} × {reason['values']}")
    return lines, {"photos": counts, "first": first, "last": last, "archives": archives}


def _people_counts(library: Library) -> tuple[list[str], dict[str, object]]:
    revision = library.current_revision()
    if revision is None:
        faces = len(library.read_faces([FACE_ID])) if library.chunk_names() else 0
        return [f"{faces:,} faces, not grouped yet: albumen group {library.path}"], {"faces": faces}
    people, assignments = library.read_people(revision), library.read_assignments(revision)
    named = len(people) - people[NAME].null_count
    grouped = len(assignments) - assignments[PERSON_ID].null_count
    text = (
        f"{len(assignments):,} faces, {grouped:,} of them of {len(people):,} people; {named:,} have a name."
    )
    return [text], {
        "revision": revision, "faces": len(assignments), "grouped": grouped, "people": len(people),
        "named": named,
    }  # fmt: skip


def _bytes_on_disk(library: Library) -> dict[str, int]:
    """Bytes by the folder of the library that they are in; nothing behind a URL, where asking takes long."""
    sizes: dict[str, int] = {}
    for folder, _, names in os.walk(library.path) if not storage.is_url(library.path) else ():
        part = os.path.relpath(folder, library.path).split(os.sep)[0]
        key = "others" if part == "." else part
        for name in names:
            with suppress(OSError):  # a run that goes on meanwhile
                sizes[key] = sizes.get(key, 0) + os.lstat(os.path.join(folder, name)).st_size
    return sizes


def ask(library: Library, *, count: int) -> tuple[list[str], dict[str, object]]:
    """The most useful questions, each with what to type for yes and for no.

    What corrections have answered is not asked again. Raises LibraryError without a grouping.
    """
    revision = _revision(library)
    made = library.read_grouping(revision)
    table = library.read_faces([FACE_ID, PHOTO_ID, FACE_SIZE, SCORE, YAW, SHARPNESS, EMBEDDING])
    assignments = library.read_assignments(revision)
    ids = table[FACE_ID].combine_chunks()
    row = rows_among(ids.to_pylist(), assignments[FACE_ID].combine_chunks())
    coded = assignments[PERSON_ID].combine_chunks().dictionary_encode()
    codes = pc.fill_null(coded.indices, -1).to_numpy(zero_copy_only=False)
    group = np.where(row >= 0, codes[row], -1).astype(np.int64)
    embeddings = matrix(table[EMBEDDING])
    vectors = centred(embeddings, np.array(made["centre"], np.float32))
    features = (table[c].to_numpy() for c in (FACE_SIZE, SCORE, YAW, SHARPNESS))
    clear = ~FaceSet(vectors, group, *features).weak(WeakLimits())
    decided = _decided(library, ids)
    found = questions(vectors, group, clear, threshold=float(str(made["threshold"])))
    open_questions = [q for q in found if not _is_decided(q, decided)][:count]
    names = _shown_names(library, revision)
    paths = dict(zip(*(library.read_photos([c])[c].to_pylist() for c in (PHOTO_ID, PATH)), strict=True))
    people, face_ids = coded.dictionary.to_pylist(), ids.to_pylist()
    lines: list[str] = []
    facts = []
    for number, question in enumerate(open_questions, start=1):
        first, second = _sides(question, people, face_ids)
        yes, no = f"same {first} {second}", f"different {first} {second}"
        if question.kind == MEMBER:
            person = people[question.groups[1]]
            yes, no = f"same {first} {person}", f"not-this-person {first} {person}"
        shown = [f"{names.get(s, s)} ({_where(r, face_ids, paths)})"
                 for s, r in ((first, question.first), (second, question.second))]  # fmt: skip
        lines.append(f"{number}. {question.kind}: do {shown[0]} and {shown[1]} show one person?")
        lines.append(f"     yes: albumen correct {library.path} {yes}")
        lines.append(f"     no:  albumen correct {library.path} {no}")
        facts.append({"kind": question.kind, "yes": yes, "no": no, "worth": question.worth})
    return lines or ["There is nothing worth asking."], {"questions": facts}


def _revision(library: Library) -> str:
    revision = library.current_revision()
    if revision is None:
        raise LibraryError(f"{library.path} is not grouped yet: albumen group {library.path}")
    return revision


def _decided(library: Library, ids: pa.Array) -> list[tuple[set[int], ...]]:
    decisions = read_decisions(library, ids)
    return [
        tuple(set(rows_among(a.faces, ids).tolist()) for a in c.anchors.values())
        for c in decisions.corrections
    ]


def _is_decided(question: Question, decided: list[tuple[set[int], ...]]) -> bool:
    """Whether a correction speaks of both sides already."""
    first, second = set(question.first.tolist()), set(question.second.tolist())
    return any(a & first and b & second for sides in decided for a in sides for b in sides if a is not b)


def _sides(question: Question, people: list[str], face_ids: list[str]) -> tuple[str, str]:
    """Both sides as references: people in a merge, single faces else."""
    sides = []
    for number, rows in zip(question.groups, (question.first, question.second), strict=True):
        whole = question.kind == MERGE and number >= 0
        sides.append(people[number] if whole else face_ids[int(rows[0])])
    return sides[0], sides[1]


def _shown_names(library: Library, revision: str) -> dict[str, str]:
    people = library.read_people(revision)
    pairs = zip(people[PERSON_ID].to_pylist(), people[NAME].to_pylist(), strict=True)
    return {person: f"{name} {person}" for person, name in pairs if name}


def _where(rows: np.ndarray, face_ids: list[str], paths: dict[str, str]) -> str:
    photo, _, number = face_ids[int(rows[0])].rpartition(":")
    return f"{paths.get(photo, photo)}#{int(number) + 1}"
