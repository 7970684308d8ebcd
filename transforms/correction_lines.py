"""Lines of ``corrections.csv`` for names that come from other programs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from types import MappingProxyType

from transforms.corrections import appended, parse, row_of

# Cells must stay readable, and rows editable in a spreadsheet (32,767 characters a cell).
_FACES_A_LINE = 400


@dataclass(frozen=True)
class NamedFace:
    """A face that another program names; without a `name`: that it leaves as it is. `person_id` and
    `person_name` are what Albumen has."""

    face_id: str
    name: str
    person_id: str | None
    person_name: str | None


@dataclass(frozen=True)
class Line:
    """One correction to be made: `name` a face, say that faces are the `same` person, or `split` them from
    one."""

    kind: str
    who: str
    others: tuple[str, ...] = ()
    name: str = ""

    @property
    def id(self) -> str:
        """The same for the same line, so that what was imported already is known."""
        content = "\0".join((self.kind, self.who, *self.others, self.name))
        return "c-" + hashlib.blake2b(content.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def lines_for(named: Iterable[NamedFace], known: Mapping[str, str] = MappingProxyType({})) -> list[Line]:
    """The corrections that faces with names come to; `known` are people by what they are called.

    For each name one face is named, the first of those in the person who holds most of them, unless
    somebody is called so already; one face of each other person who holds some, and each that nobody holds,
    is said to be the same person. Persons whose name is right already need nothing. Where a person's other
    faces were left as they are, these faces leave the person alone, and the others stay together.
    """
    by_name: dict[str, list[NamedFace]] = {}
    staying: dict[str, list[str]] = {}
    for face in named:
        if face.name in ("", face.person_name) or face.person_id == known.get(face.name, ""):
            staying.setdefault(face.person_id or "", []).append(face.face_id)
        if face.name:
            by_name.setdefault(face.name, []).append(face)
    staying.pop("", None)
    lines = _splits(by_name, staying, known)
    for name, faces in sorted(by_name.items()):
        groups: dict[str, list[str]] = {}
        for face in sorted(faces, key=lambda f: f.face_id):
            if face.person_id is None:
                groups[f"\0{face.face_id}"] = [face.face_id]
            else:
                groups.setdefault(face.person_id, []).append(face.face_id)
        right = {f.person_id for f in faces if f.person_name == name} | {known.get(name)}
        ordered = sorted(groups.items(), key=lambda g: (g[0] not in right, -len(g[1]), g[0]))
        first, members = ordered[0]
        who, rest = members[0], ordered[1:]
        if first not in right and name in known:
            who, rest = known[name], ordered
        elif first not in right:
            lines.append(Line("name", who, name=name))
        others = [face_ids[0] for person, face_ids in rest if person not in right]
        for start in range(0, len(others), _FACES_A_LINE):
            lines.append(Line("same", who, tuple(others[start : start + _FACES_A_LINE])))
    return lines


def _splits(
    by_name: Mapping[str, Sequence[NamedFace]], staying: Mapping[str, Sequence[str]], known: Mapping[str, str]
) -> list[Line]:
    """The faces that leave people who stay, by person and new name; and that those who stay belong together,
    or they would follow the ones that they are like."""
    leaving: dict[tuple[str, str], list[str]] = {}
    for name, faces in by_name.items():
        for face in faces:
            person = face.person_id
            if (
                person is not None
                and person in staying
                and face.person_name != name
                and known.get(name) != person
            ):
                leaving.setdefault((person, name), []).append(face.face_id)
    lines = [
        Line("split", person, tuple(sorted(faces)[start : start + _FACES_A_LINE]))
        for (person, _), faces in sorted(leaving.items())
        for start in range(0, len(faces), _FACES_A_LINE)
    ]
    for person in sorted({person for person, _ in leaving}):
        first, *rest = sorted(set(staying[person]))
        for start in range(0, len(rest), _FACES_A_LINE):
            lines.append(Line("same", first, tuple(rest[start : start + _FACES_A_LINE])))
    return lines


def with_lines(data: bytes, lines: Sequence[Line], *, note: str) -> tuple[bytes, int]:
    """The corrections file with these lines at its end, in the form that it has, and how many were not
    there yet."""
    known = {c.id for c in parse(data).corrections}
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    rows = [
        row_of(
            id=line.id, date=now, kind=line.kind, who=line.who, others=line.others, note=note,
            name="".join(c if c.isprintable() else " " for c in line.name),
        )
        for line in lines if line.id not in known
    ]  # fmt: skip
    return (appended(data, *rows) if rows else data), len(rows)
