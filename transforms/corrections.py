"""``corrections.csv``: what the user decided about faces and people, one decision a line, kept for ever.

A person may edit the file in a spreadsheet, so it is read forgivingly: UTF-8 with or without a byte order
mark or UTF-16, commas, semicolons or tabs, any order of columns, blank lines, columns of the user's own.
What can't be understood costs its line, never the file. Albumen only ever adds lines, in the form that the
file has. `docs/corrections.md` describes the columns.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

NAME, RENAME, MERGE, SPLIT = "name", "rename", "merge", "split"
SAME, DIFFERENT, NOT_THIS_PERSON = "same", "different", "not-this-person"
NOT_A_FACE, IGNORE_PERSON = "not-a-face", "ignore-person"
SAME_PHOTO_ALLOWED, UNDO = "same-photo-allowed", "undo"
KINDS = (
    NAME, RENAME, MERGE, SPLIT, SAME, DIFFERENT, NOT_THIS_PERSON, NOT_A_FACE, IGNORE_PERSON,
    SAME_PHOTO_ALLOWED, UNDO,
)  # fmt: skip
_NEEDS_NAME = (NAME, RENAME)
_NEEDS_OTHERS = (MERGE, SPLIT, SAME, DIFFERENT)

_ID, _DATE, _KIND, _WHO, _WITH, _NAME, _FACES, _NOTE = (
    "id", "date", "kind", "who", "with", "name", "faces", "note",
)  # fmt: skip
COLUMNS = (_ID, _DATE, _KIND, _WHO, _WITH, _NAME, _FACES, _NOTE)
_REQUIRED = {_KIND, _WHO}

SEPARATOR = " | "
# A cell that begins so is a formula to a spreadsheet: it could run commands where the file is opened.
# An apostrophe before it makes it text (OWASP, "CSV Injection"); apostrophes there are escaped likewise.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff0b\uff0d\uff1d\uff20]")
LINE_END = re.compile(r"\r\n|\n|\r")  # names may hold what Unicode calls a line end
# Ids may stand side by side; photo paths, which may hold spaces, need the separator.
_ONE_ID = r"(?:[pc]-[0-9a-f]{8,}|[0-9a-f]{32}:\d+)"
_IDS = re.compile(rf"{_ONE_ID}(?:[\s,]+{_ONE_ID})+")
_ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d")


class CorrectionError(Exception):
    """A correction can't be made; the message says why and what to do."""


@dataclass(frozen=True)
class Anchor:
    """The faces by which a reference is known: `exact` where the user spoke of just these faces, else
    some of those that a person had then, the surest first."""

    faces: tuple[str, ...]
    exact: bool


@dataclass(frozen=True)
class Correction:
    """One line. `who` and `others` are references as written; `anchors` the faces that they meant when
    the line was made, by reference (none for a line made by hand until a grouping has read it)."""

    line: int
    id: str
    date: str
    kind: str
    who: str
    others: tuple[str, ...] = ()
    name: str = ""
    anchors: Mapping[str, Anchor] = field(default_factory=dict)

    @property
    def references(self) -> tuple[str, ...]:
        """All references, `who` first."""
        return (self.who, *self.others)

    def __str__(self) -> str:
        said = " ".join([self.kind, *self.references, *([repr(self.name)] if self.name else [])])
        return f"line {self.line} ({said}{', ' + self.date[:10] if self.date else ''})"


@dataclass(frozen=True)
class Problem:
    """Something about the file that its owner should know; `lines` count from 1."""

    lines: tuple[int, ...]
    message: str

    def __str__(self) -> str:
        return f"corrections.csv: {self.message}"


@dataclass(frozen=True)
class Dialect:
    """How a file is written: its encoding, what separates cells and lines, and its columns in order."""

    encoding: str = "utf-8"
    delimiter: str = ","
    newline: str = "\r\n"
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class CorrectionsFile:
    """What a file says: all corrections in the order of their dates, those that an undo has taken back
    left out of `active`, and what could not be understood."""

    corrections: tuple[Correction, ...] = ()
    active: tuple[Correction, ...] = ()
    problems: tuple[Problem, ...] = ()
    dialect: Dialect = Dialect()


def parse(data: bytes) -> CorrectionsFile:
    """Reads a corrections file; an empty one holds no corrections."""
    encoding, text = decoded(data)
    lines = LINE_END.split(text)
    newline = "\r\n" if "\r\n" in text or "\n" not in text else "\n"
    dialect = Dialect(encoding, ",", newline)
    found: dict[str, Correction] = {}
    problems: list[Problem] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip(" ,;\t") or re.fullmatch(r'"?sep=.;?"?', line.strip(), re.IGNORECASE):
            continue
        header = header_of(line)
        if header is not None:
            dialect = Dialect(encoding, header[0], newline, header[1])
            continue
        if not dialect.columns:
            message = f"line {number}: a line with the columns' names must come first: {','.join(COLUMNS)}"
            return CorrectionsFile(problems=(Problem((number,), message),), dialect=dialect)
        try:
            correction = _correction(number, line, dialect)
            while correction.id in found:  # a line that was copied with its id
                correction = replace(correction, id=correction.id + "-again")
            found[correction.id] = correction
        except ValueError as error:
            problems.append(Problem((number,), f"line {number}: {error}; the other lines hold"))
    ordered = _by_date(list(found.values()))
    active, more = _without_undone(ordered)
    return CorrectionsFile(tuple(ordered), tuple(active), (*problems, *more), dialect)


def appended(data: bytes, row: Mapping[str, str], *more: Mapping[str, str]) -> bytes:
    """The file with a line more a row, in its own form; a row maps column names to values.

    Where the file lacks a column that is needed, a new line of column names goes before.
    """
    file = parse(data)
    dialect = file.dialect if file.dialect.columns else Dialect(columns=COLUMNS)
    header = not file.dialect.columns
    if not set(COLUMNS) - {_NOTE} <= set(dialect.columns):
        dialect, header = Dialect(dialect.encoding, dialect.delimiter, dialect.newline, COLUMNS), True
    out = io.StringIO()
    writer = csv.writer(out, delimiter=dialect.delimiter, lineterminator=dialect.newline)
    if header:
        writer.writerow(dialect.columns)
    for one in (row, *more):
        writer.writerow([to_cell(one.get(column, "")) for column in dialect.columns])
    # A spreadsheet takes a file of UTF-8 for what it is when the mark is there.
    start = data or codecs.BOM_UTF8
    ends = decoded(data)[1].endswith(("\n", "\r")) or not data
    gap = "" if ends else dialect.newline
    return start + (gap + out.getvalue()).encode(dialect.encoding, "surrogateescape")


def row_of(
    *, id: str, date: str, kind: str, who: str, others: Sequence[str] = (), name: str = "",
    anchors: Mapping[str, Anchor] | None = None, note: str = "",
) -> dict[str, str]:  # fmt: skip
    """A correction as cells. Raises ValueError for what a line can't hold."""
    for value in (who, name, note, *others):
        if any(not (c.isprintable() or "\udc80" <= c <= "\udcff") for c in value):
            raise ValueError(f"{value!r} holds characters that are not text")
    values = (id, date, kind, who, SEPARATOR.join(others), name, anchors_cell(anchors or {}), note)
    return dict(zip(COLUMNS, values, strict=True))


def anchors_cell(anchors: Mapping[str, Anchor]) -> str:
    """Anchors as text: ``p-1 ~ face face | photo.jpg#2 = face``."""
    return SEPARATOR.join(f"{r} {'=' if a.exact else '~'} {' '.join(a.faces)}" for r, a in anchors.items())


def anchors_of(cell: str) -> dict[str, Anchor]:
    """Reads what `anchors_cell` wrote; what is not of that form is left out."""
    parts = (re.fullmatch(r"(.*) ([=~]) ([^=~|]+)", p.strip()) for p in cell.split(SEPARATOR))
    return {m[1]: Anchor(tuple(m[3].split()), m[2] == "=") for m in parts if m}


def decoded(data: bytes) -> tuple[str, str]:
    """(encoding for more lines, text); bytes that are not UTF-8 stay as surrogates."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16-le" if data.startswith(codecs.BOM_UTF16_LE) else "utf-16-be"
        return encoding, data[2:].decode(encoding, "replace")
    text = data[3:] if data.startswith(codecs.BOM_UTF8) else data
    return "utf-8", text.decode("utf-8", "surrogateescape")


def header_of(
    line: str, required: Collection[str] = frozenset(_REQUIRED)
) -> tuple[str, tuple[str, ...]] | None:
    """(what separates cells, the columns in order) of a line with the columns' names; None for others."""
    for delimiter in ",;\t":
        names = tuple(c.strip().strip('"').strip().lower() for c in line.split(delimiter))
        if set(names) >= set(required):
            return delimiter, names
    return None


def _correction(number: int, line: str, dialect: Dialect) -> Correction:
    if any("\udc80" <= c <= "\udcff" for c in line) or "\ufffd" in line:
        raise ValueError('not UTF-8 text: save the file as "CSV UTF-8"')
    try:
        cells = next(csv.reader([line], delimiter=dialect.delimiter, strict=True))
    except csv.Error as error:
        raise ValueError(f"the quotation marks don't match ({error})") from None
    row = dict.fromkeys(_REQUIRED, "") | {
        c: _from_cell(v) for c, v in zip(dialect.columns, cells, strict=False)
    }
    kind = re.sub(r"[\s_]+", "-", row.get(_KIND, "").lower())
    if kind not in KINDS:
        raise ValueError(f"{row.get(_KIND, '')!r} is no kind of correction: use one of {', '.join(KINDS)}")
    references = [*_references(row[_WHO]), *_references(row.get(_WITH, ""))]
    if not row[_WHO]:
        raise ValueError("the column 'who' is empty")
    found = Correction(
        number, row.get(_ID, "") or _content_id(kind, row), row.get(_DATE, ""), kind, references[0],
        tuple(references[1:]), row.get(_NAME, ""), anchors_of(row.get(_FACES, "")),
    )  # fmt: skip
    check_complete(found)
    return found


def check_complete(correction: Correction) -> None:
    """Raises ValueError where a correction lacks what its kind needs."""
    if correction.kind in _NEEDS_NAME and not correction.name:
        raise ValueError(f"{correction.kind} needs a name (column 'name')")
    if correction.kind in _NEEDS_OTHERS and not correction.others:
        raise ValueError(f"{correction.kind} needs the other faces or people too (column 'with')")


def _references(cell: str) -> list[str]:
    parts = [part.strip() for part in cell.split(SEPARATOR.strip()) if part.strip()]
    return [r for part in parts for r in (re.split(r"[\s,]+", part) if _IDS.fullmatch(part) else [part])]


def _content_id(kind: str, row: Mapping[str, str]) -> str:
    """A name for a line that has none: the same wherever in the file it stands."""
    content = "\0".join([kind, *(row.get(c, "") for c in (_DATE, _WHO, _WITH, _NAME))])
    return "c-" + hashlib.blake2b(content.encode(), digest_size=4).hexdigest()


def to_cell(value: str) -> str:
    """A value as a cell that no spreadsheet takes for a formula."""
    return "'" + value if _FORMULA.match(value) else value


def _from_cell(cell: str) -> str:
    value = cell.strip()
    return value[1:] if value.startswith("'") and _FORMULA.match(value[1:]) else value


def _by_date(found: list[Correction]) -> list[Correction]:
    """In the order of their dates; one without a readable date comes after all lines before it."""
    latest, keys = "", []
    for correction in found:
        dated = _ISO_DATE.match(correction.date) is not None
        latest = max(latest, correction.date) if dated else latest
        keys.append(correction.date if dated else latest)
    return [found[i] for i in sorted(range(len(found)), key=lambda i: keys[i])]


def _without_undone(corrections: Sequence[Correction]) -> tuple[list[Correction], list[Problem]]:
    """Those that hold: an undo takes a correction back, or another undo."""
    known = {c.id for c in corrections}
    undos: dict[str, list[Correction]] = {}
    problems = []
    for undo in (c for c in corrections if c.kind == UNDO):
        for target in undo.references:
            if target in known and target != undo.id:
                undos.setdefault(target, []).append(undo)
            else:
                problems.append(Problem((undo.line,), f"{undo}: there is no correction {target}"))
    holds: dict[str, bool] = {}

    def is_active(correction_id: str) -> bool:
        if correction_id not in holds:
            holds[correction_id] = False  # ends a ring of undos, which only a hand can make
            holds[correction_id] = not any(is_active(u.id) for u in undos.get(correction_id, ()))
        return holds[correction_id]

    return [c for c in corrections if c.kind != UNDO and is_active(c.id)], problems
