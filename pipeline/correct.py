"""``albumen correct``: adds a line to ``corrections.csv``, and says what all lines come to."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone

import pyarrow as pa

from transforms import storage
from transforms.corrections import (
    MERGE,
    NAME,
    RENAME,
    SAME,
    SEPARATOR,
    UNDO,
    Correction,
    CorrectionError,
    CorrectionsFile,
    appended,
    check_complete,
    parse,
    row_of,
)
from transforms.decisions import anchor, read_decisions
from transforms.lease import Lease, LibraryInUse
from transforms.library import CORRECTIONS, Library
from transforms.references import References
from transforms.tables import FACE_ID


@dataclass(frozen=True)
class Made:
    """A correction that was written, and what its maker should know."""

    correction: Correction
    notes: tuple[str, ...] = ()


def correct(
    library: Library, kind: str, references: Sequence[str], *, name: str = "", note: str = ""
) -> Made:
    """Writes one correction at the end of the file.

    Raises CorrectionError where a reference means nothing, or where the correction would contradict
    another one: then the file stays as it is. Raises LibraryInUse while a run holds the library.
    """
    with _held(library):
        data = library.read_corrections()
        file = parse(data)
        _check_readable(file)
        made = Correction(
            0, "c-" + secrets.token_hex(4), datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            kind, references[0], tuple(references[1:]), name.strip(),
        )  # fmt: skip
        try:
            check_complete(made)
        except ValueError as error:
            raise CorrectionError(str(error)) from None
        notes: list[str] = []
        if kind == UNDO:
            _check_undo(file, references)
        else:
            found = References(library, library.current_revision())
            earlier = read_decisions(library, _face_ids(library), data=data).corrections
            made = anchor(made, found, earlier=earlier)
            notes += _notes(made, found)
        who, *others = (_writable(made, reference) for reference in made.references)
        try:
            row = row_of(
                id=made.id, date=made.date, kind=kind, who=who, others=others, name=made.name,
                anchors={_writable(made, r): a for r, a in made.anchors.items()}, note=note,
            )  # fmt: skip
        except ValueError as error:
            raise CorrectionError(str(error)) from None
        longer = appended(data, row)
        _check_harmony(library, data, longer, made)
        _write(library, longer)
    return Made(next(c for c in parse(longer).corrections if c.id == made.id), tuple(notes))


def review(library: Library) -> tuple[list[str], dict[str, object]]:
    """All corrections, and what is wrong with them."""
    data = library.read_corrections()
    file = parse(data)
    decisions = read_decisions(library, _face_ids(library), data=data)
    active = {c.id for c in file.active}
    lines = [
        f"{c.id}  {c}" + ("" if c.kind == UNDO or c.id in active else "  (taken back)")
        for c in file.corrections
    ]
    lines += [str(p) for p in decisions.problems]
    if not lines:
        lines = [f"{library.path} has no corrections yet."]
    facts: dict[str, object] = {
        "corrections": len(file.corrections),
        "active": len(file.active),
        "problems": [str(p) for p in decisions.problems],
    }
    return lines, facts


@contextmanager
def _held(library: Library) -> Iterator[None]:
    try:
        with Lease(library.path):
            yield
    except LibraryInUse as error:
        raise LibraryInUse(
            f"{error}. A line that you add to {library.file(CORRECTIONS)} by hand is safe meanwhile: "
            "runs read that file and never write it"
        ) from error


def _check_readable(file: CorrectionsFile) -> None:
    if not file.corrections and file.problems and not file.dialect.columns:
        raise CorrectionError(f"{CORRECTIONS} can't be read: {file.problems[0].message}")


def _check_undo(file: CorrectionsFile, references: Sequence[str]) -> None:
    known, active = {c.id: c.kind for c in file.corrections}, {c.id for c in file.active}
    for reference in references:
        if reference not in known:
            raise CorrectionError(
                f"there is no correction {reference}: albumen correct LIBRARY lists them with their ids"
            )
        if known[reference] != UNDO and reference not in active:
            raise CorrectionError(f"{reference} is taken back already: nothing was changed")


def _notes(made: Correction, found: References) -> list[str]:
    """What two names of one person, or one name of two people, come to."""
    people = [found.people_of(made.anchors[reference].faces) for reference in made.references]
    if made.kind in (NAME, RENAME):
        others = sorted(set(found.named(made.name)) - people[0])
        same = f"{others[0]} is called {made.name!r} too; if that is the same person" if others else ""
        return (
            [f"{same}: albumen correct LIBRARY merge {shlex.quote(made.who)} {others[0]}"] if others else []
        )
    if made.kind not in (MERGE, SAME):
        return []
    names = [sorted(filter(None, map(found.name_of, held))) for held in people]
    others = sorted({n for held in names[1:] for n in held} - set(names[0]))
    if not names[0] or not others:
        return []
    return [f"The name {names[0][0]!r} stays; {', '.join(map(repr, others))} gives way to it."]


def _writable(made: Correction, reference: str) -> str:
    """A reference as a cell can hold it: a path that would be taken for several becomes a face id."""
    parsed_alone = SEPARATOR.strip() not in reference and " = " not in reference and " ~ " not in reference
    anchor = made.anchors.get(reference)
    if parsed_alone or anchor is None:
        return reference
    if len(anchor.faces) > 1:
        raise CorrectionError(f"{reference!r} holds a character that separates references: give face ids")
    return anchor.faces[0]


def _check_harmony(library: Library, data: bytes, longer: bytes, made: Correction) -> None:
    """Raises CorrectionError where the new line brings up a problem that was not there before."""
    ids = _face_ids(library)
    before = {p.message for p in read_decisions(library, ids, data=data).problems}
    line = next(c.line for c in parse(longer).corrections if c.id == made.id)
    for problem in read_decisions(library, ids, data=longer).problems:
        if problem.message not in before and (line in problem.lines or made.kind == UNDO):
            raise CorrectionError(f"nothing was changed: {problem.message}")


def _face_ids(library: Library) -> pa.Array:
    return library.read_faces([FACE_ID])[FACE_ID].combine_chunks()


def _write(library: Library, data: bytes) -> None:
    path = library.file(CORRECTIONS)
    try:
        storage.write_bytes(path, data)
    except PermissionError as error:
        raise CorrectionError(
            f"{path} can't be written ({error}): is it open in a spreadsheet? Close it there and try again"
        ) from error
