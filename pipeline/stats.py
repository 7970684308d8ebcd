"""``albumen stats``: what a library holds, and what would be most useful to know from its owner."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.estimate import size
from pipeline.faces_to_group import shipped_for
from transforms import storage
from transforms.decisions import Decisions, read_decisions, rows_among
from transforms.enforcement import freed_photos
from transforms.export_records import export_records
from transforms.library import Library, LibraryError
from transforms.people import FaceSet, WeakLimits
from transforms.people_tables import photo_numbers
from transforms.questions import MEMBER, MERGE, Question, questions
from transforms.records import ERROR, NO_FACE, OK, SKIPPED
from transforms.references import References
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
    if made["fingerprint"] != library.info().fingerprint:
        raise LibraryError(f"{library.path} has other vectors since: first albumen group {library.path}")
    table = library.read_faces([FACE_ID, PHOTO_ID, FACE_SIZE, SCORE, YAW, SHARPNESS, EMBEDDING])
    assignments = library.read_assignments(revision)
    ids = table[FACE_ID].combine_chunks()
    row = rows_among(ids.to_pylist(), assignments[FACE_ID].combine_chunks())
    coded = assignments[PERSON_ID].combine_chunks().dictionary_encode()
    codes = pc.fill_null(coded.indices, -1).to_numpy(zero_copy_only=False)
    group = np.where(row >= 0, codes[row], -1).astype(np.int64)
    vectors = centred(matrix(table[EMBEDDING]), np.array(made["centre"], np.float32))
    features = (table[c].to_numpy() for c in (FACE_SIZE, SCORE, YAW, SHARPNESS))
    faces = FaceSet(vectors, photo_numbers(table), *features)
    clear = ~faces.weak(WeakLimits())
    names, people = _names(library, revision), coded.dictionary.to_pylist()
    decisions = read_decisions(library, ids)
    answered = _Answered.by(decisions, ids, group, [names.get(person) for person in people])
    clear[decisions.constraints.absent] = False
    shipped = shipped_for(library)
    faces = replace(
        faces,
        photo=freed_photos(faces.photo, decisions.constraints),
        bias=shipped.cohort.bias(vectors) if shipped and shipped.cohort else None,
    )
    found = questions(faces, group, clear, threshold=float(str(made["threshold"])))
    chosen = list(islice((q for q in found if not answered.has(q)), count))
    shown = _Shown(library, ids.to_pylist(), people)
    lines: list[str] = []
    facts = []
    for number, question in enumerate(chosen, start=1):
        first, second = shown.references(question)
        yes, no = f"same {first} {second}", f"different {first} {second}"
        if question.kind == MEMBER:
            no = f"not-this-person {first} {second}"
        sides = [f"{names.get(s, '')} {s} ({shown.place(r)})".strip()
                 for s, r in ((first, question.first), (second, question.second))]  # fmt: skip
        lines.append(f"{number}. {question.kind}: do {sides[0]} and {sides[1]} show one person?")
        for word, said in (("yes: ", yes), ("no:  ", no)):
            lines.append(f"     {word}albumen correct {shlex.quote(library.path)} {said}")
        facts.append({"kind": question.kind, "yes": yes, "no": no, "worth": question.worth})
    return lines or ["There is nothing worth asking."], {"questions": facts}


def _revision(library: Library) -> str:
    revision = library.current_revision()
    if revision is None:
        raise LibraryError(f"{library.path} is not grouped yet: albumen group {library.path}")
    return revision


def _names(library: Library, revision: str) -> dict[str, str]:
    people = library.read_people(revision)
    pairs = zip(people[PERSON_ID].to_pylist(), people[NAME].to_pylist(), strict=True)
    return {person: name for person, name in pairs if name}


@dataclass(frozen=True)
class _Answered:
    """What needs no asking: `said` are corrections as sets of the faces that they speak of; `group` int64[n]
    is who has each face, and `names` what groups 0 … g-1 are called."""

    said: Sequence[Sequence[set[int]]]
    group: np.ndarray
    names: Sequence[str | None]

    @classmethod
    def by(
        cls, decisions: Decisions, ids: pa.Array, group: np.ndarray, names: Sequence[str | None]
    ) -> _Answered:
        """What corrections answer."""
        anchors = (list(c.anchors.values()) for c in decisions.corrections if len(c.anchors) > 1)
        sides = [[a.faces for a in of] for of in anchors]
        spoken_of = sorted({face for of in sides for faces in of for face in faces})
        row = dict(zip(spoken_of, rows_among(spoken_of, ids).tolist(), strict=True))
        said = [[{row[face] for face in faces} for faces in of] for of in sides]
        return cls(said, group, names)

    def has(self, question: Question) -> bool:
        """Whether a correction speaks of both sides already, or they have different names."""
        first, second = (self.names[g] if g >= 0 else None for g in question.groups)
        if first is not None and second is not None and first != second:
            return True
        one = self._side(question.first, question.groups[0], whole=question.kind == MERGE)
        other = self._side(question.second, question.groups[1], whole=question.kind in (MERGE, MEMBER))
        return any(a & one and b & other for said in self.said for a in said for b in said if a is not b)

    def _side(self, rows: np.ndarray, group: int, *, whole: bool) -> set[int]:
        rows = np.flatnonzero(self.group == group) if whole and group >= 0 else rows
        return set(rows.tolist())


class _Shown:
    """Faces and people as they are called to a user."""

    def __init__(self, library: Library, face_ids: list[str], people: list[str]) -> None:
        self._face_ids, self._people = face_ids, people
        self._references = References(library, library.current_revision())
        columns = (library.read_photos([c])[c].to_pylist() for c in (PHOTO_ID, PATH))
        self._paths = dict(zip(*columns, strict=True))

    def references(self, question: Question) -> tuple[str, str]:
        """Both sides by id: two people in a merge, a face and the person it may not be, else faces."""
        faces = (self._face_ids[int(rows[0])] for rows in (question.first, question.second))
        whole = (question.kind == MERGE, question.kind in (MERGE, MEMBER))
        first, second = (
            self._people[number] if person and number >= 0 else face
            for number, face, person in zip(question.groups, faces, whole, strict=True)
        )
        return first, second

    def place(self, rows: np.ndarray) -> str:
        """The path of the first face's photo, and which face there it is."""
        face = self._face_ids[int(rows[0])]
        photo = face.rpartition(":")[0]
        place = self._references.faces_from_left(photo).index(face) + 1
        return f"{self._paths.get(photo, photo)}#{place}"
