"""Lines of ``corrections.csv`` for names that come from other programs."""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from transforms.export_table import guarded

CORRECTIONS = "corrections.csv"
_COLUMNS = ("id", "date", "kind", "who", "with", "name", "faces", "note")
_SEPARATOR = " | "
# Cells must stay readable, and rows editable in a spreadsheet (32,767 characters a cell).
_FACES_A_LINE = 400


@dataclass(frozen=True)
class NamedFace:
    """A face that another program names. `person_id` and `person_name` are what Albumen has."""

    face_id: str
    name: str
    person_id: str | None
    person_name: str | None


@dataclass(frozen=True)
class Line:
    """One correction to be made: `name` a face, or say that faces are the `same` person."""

    kind: str
    who: str
    others: tuple[str, ...] = ()
    name: str = ""

    @property
    def id(self) -> str:
        """The same for the same line, so that what was imported already is known."""
        content = "\0".join((self.kind, self.who, *self.others, self.name))
        return "c-" + hashlib.blake2b(content.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def lines_for(named: Iterable[NamedFace]) -> list[Line]:
    """The corrections that faces with names come to.

    For each name one face is named, the first of those in the person who holds most of them; one face of
    each other person who holds some, and each that nobody holds, is said to be the same person. Persons
    whose name is right already need nothing.
    """
    by_name: dict[str, list[NamedFace]] = {}
    for face in named:
        if face.name:
            by_name.setdefault(face.name, []).append(face)
    lines: list[Line] = []
    for name, faces in sorted(by_name.items()):
        groups: dict[str, list[str]] = {}
        for face in sorted(faces, key=lambda f: f.face_id):
            if face.person_id is None:
                groups[f"\0{face.face_id}"] = [face.face_id]
            else:
                groups.setdefault(face.person_id, []).append(face.face_id)
        right = {f.person_id for f in faces if f.person_name == name}
        ordered = sorted(groups.items(), key=lambda g: (g[0] not in right, -len(g[1]), g[0]))
        (first, members), rest = ordered[0], ordered[1:]
        if first not in right:
            lines.append(Line("name", members[0], name=name))
        others = [face_ids[0] for person, face_ids in rest if person not in right]
        for start in range(0, len(others), _FACES_A_LINE):
            lines.append(Line("same", members[0], tuple(others[start : start + _FACES_A_LINE])))
    return lines


def with_lines(data: bytes, lines: Sequence[Line], *, note: str) -> tuple[bytes, int]:
    """The corrections file with these lines at its end, and how many were not there yet."""
    text = data.decode("utf-8", "replace")
    new = [line for line in lines if line.id not in text]
    if not new:
        return data, 0
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    if not data.strip(codecs.BOM_UTF8):
        writer.writerow(_COLUMNS)
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    for line in new:
        others = _SEPARATOR.join(line.others)
        name = "".join(c if c.isprintable() else " " for c in line.name)
        writer.writerow((line.id, now, line.kind, line.who, others, guarded(name), "", guarded(note)))
    gap = "" if not data or data.endswith((b"\n", b"\r")) else "\r\n"
    return (data or codecs.BOM_UTF8) + (gap + out.getvalue()).encode("utf-8", "backslashreplace"), len(new)
