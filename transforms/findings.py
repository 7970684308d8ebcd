"""What `albumen dedupe` found, as a list that a person may edit and that an export obeys.

``findings.csv`` has a row per finding or, where a finding is about several photos, per photo. `action`
decides: ``merge`` (identity into other_identity), ``move`` (the photo to other_identity), ``leave-out``
(the photo), ``keep`` (nothing). ``identities.parquet`` has the crawl as it was. What a line says of a photo
or an identity that there is not stops the export: it would do something else than its reader decided.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from transforms import storage
from transforms.edited_csv import edited_rows
from transforms.export_table import guarded
from transforms.library import LibraryError
from transforms.selected import Grouping
from transforms.tables import (
    ASSIGNMENTS_SCHEMA,
    CONFIDENCE,
    FACE_ID,
    IDENTITY,
    NAME,
    PATH,
    PATH_BYTES,
    PEOPLE_SCHEMA,
    PERSON_ID,
    PHOTO_ID,
    ROLE,
    ROOT,
    SOURCE,
)

FINDINGS, IDENTITIES = "findings.csv", "identities.parquet"
MERGE, MOVE, LEAVE_OUT, KEEP = "merge", "move", "leave-out", "keep"
SAME_PERSON, MISFILED, MIXED, EXACT_COPY, NEAR_COPY = (
    "same-person", "misfiled", "mixed", "exact-copy", "near-copy",
)  # fmt: skip
_ACTIONS = (MERGE, MOVE, LEAVE_OUT, KEEP)
_COLUMNS = (
    "finding",
    "score",
    "action",
    "identity",
    "other_identity",
    "root",
    "path",
    "other_path",
    "detail",
)


@dataclass(frozen=True)
class FindingRow:
    """One row. `root` and `path` are empty where the finding is about identities. `line` is where it stands
    in a file that was read."""

    finding: str
    score: float
    action: str
    identity: str
    other_identity: str = ""
    root: str = ""
    path: str = ""
    other_path: str = ""
    detail: str = ""
    line: int = field(default=0, compare=False)


def findings_csv(rows: Iterable[FindingRow]) -> bytes:
    """The file of findings."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for row in rows:
        values = [getattr(row, c) for c in _COLUMNS]
        writer.writerow([guarded(v) if isinstance(v, str) else v for v in values])
    return text.getvalue().encode("utf-8", "backslashreplace")


def read_findings(data: bytes, *, name: str = FINDINGS) -> list[FindingRow]:
    """Reads what `findings_csv` wrote and somebody may have edited. Raises LibraryError with the line."""
    rows = []
    for line, cells in edited_rows(data, required=("action", "identity"), name=name):
        plain = {c: cells.get(c, "") for c in _COLUMNS if c != "score"}
        action = "-".join(plain["action"].lower().split()) or KEEP
        if action not in _ACTIONS:
            raise LibraryError(
                f"{name}, line {line}: {action!r} is no action: give one of {', '.join(_ACTIONS)}"
            )
        if action in (MERGE, MOVE) and not plain["other_identity"]:
            raise LibraryError(f"{name}, line {line}: {action} needs other_identity")
        if action in (MOVE, LEAVE_OUT) and not plain["path"]:
            raise LibraryError(f"{name}, line {line}: {action} needs the photo's path")
        # The score is there to be looked at: spreadsheets write it in many ways.
        rows.append(FindingRow(score=0.0, line=line, **{**plain, "action": action}))
    return rows


class _Crawl:
    """The photos and identities that a list of findings may speak of."""

    def __init__(self, identities: pa.Table, name: str) -> None:
        self._name = name
        self._identities = set(identities[IDENTITY].to_pylist())
        self._roots: dict[str, list[str]] = {}
        for root, path in zip(identities[ROOT].to_pylist(), identities[PATH].to_pylist(), strict=True):
            self._roots.setdefault(path, []).append(root)
        # A spreadsheet makes the number 45 of the identity 0000045.
        self._numbers: dict[str, list[str]] = {}
        for identity in self._identities:
            if identity.isdecimal():
                self._numbers.setdefault(identity.lstrip("0"), []).append(identity)

    def photo(self, row: FindingRow) -> tuple[str, str]:
        """(root, path) of the photo that is meant; the root may be left out where the path tells."""
        roots = self._roots.get(row.path, [])
        if row.root in roots:
            return row.root, row.path
        if not row.root and len(roots) == 1:
            return roots[0], row.path
        raise LibraryError(f"{self._name}, line {row.line}: there is no photo {row.path!r} in this crawl")

    def identity(self, row: FindingRow, *, new: Collection[str]) -> str:
        """The identity that is meant, which there must be, or which is a `new` one."""
        found = self.target(row.identity)
        if found not in self._identities and found not in new:
            raise LibraryError(
                f"{self._name}, line {row.line}: there is no identity {row.identity!r} in this crawl"
            )
        return found

    def target(self, identity: str) -> str:
        """The identity that is meant, which may be a new one."""
        alike = self._numbers.get(identity, [])
        return alike[0] if identity not in self._identities and len(alike) == 1 else identity


def obeyed(identities: pa.Table, findings: Iterable[FindingRow], *, name: str = FINDINGS) -> pa.Table:
    """The rows of identities as the findings want them: photos moved and left out, identities merged.

    Raises LibraryError, with the file's `name` and the line, for a photo or an identity that is not there.
    """
    crawl, found = _Crawl(identities, name), list(findings)
    moves: dict[tuple[str, str], str] = {}
    out = {crawl.photo(row) for row in found if row.action == LEAVE_OUT}
    for row in found:
        if row.action == MOVE:
            moves.setdefault(crawl.photo(row), crawl.target(row.other_identity))
    merged: dict[str, str] = {}
    for row in found:
        if row.action == MERGE:
            merged.setdefault(crawl.identity(row, new=moves.values()), crawl.target(row.other_identity))
    rows = []
    for row in identities.to_pylist():
        key = (row[ROOT], row[PATH])
        if key not in out:
            row[IDENTITY] = _final(moves.get(key, row[IDENTITY]), merged)
            rows.append(row)
    return pa.Table.from_pylist(rows, schema=identities.schema)


def _final(identity: str, merged: Mapping[str, str]) -> str:
    """Where a chain of merges ends; a ring of them at its first name in order."""
    seen = [identity]
    while identity in merged:
        identity = merged[identity]
        if identity in seen:
            return min(seen[seen.index(identity) :])
        seen.append(identity)
    return identity


def crawl_grouping(folder: str) -> Grouping:
    """The identities that a folder of `albumen dedupe` holds, as its findings want them, in place of a
    library's people. Raises LibraryError where there are none."""
    path = os.path.join(folder, IDENTITIES)
    if not storage.exists(path):
        raise LibraryError(f"{folder} was not written by albumen dedupe (no {IDENTITIES})")
    name = os.path.join(folder, FINDINGS)
    findings = read_findings(storage.read_bytes(name), name=name)
    table = obeyed(pq.read_table(path), findings, name=name)
    seen: dict[str, str] = {}
    rows, counts = [], dict[str, int]()
    places, left = [], []
    for row in table.to_pylist():
        if row[FACE_ID] is None:
            left.append((row[PATH], "no face was found in it"))
            continue
        if row[FACE_ID] in seen:
            left.append((row[PATH], f"the same file as {seen[row[FACE_ID]]}"))
            continue
        seen[row[FACE_ID]] = row[PATH]
        places.append({PHOTO_ID: row[PHOTO_ID], ROOT: row[ROOT], PATH_BYTES: row[PATH_BYTES]})
        counts[row[IDENTITY]] = counts.get(row[IDENTITY], 0) + 1
        sure = 0.0 if row[CONFIDENCE] is None else min(max(row[CONFIDENCE], 0.0), 1.0)
        rows.append(
            {FACE_ID: row[FACE_ID], PERSON_ID: row[IDENTITY], CONFIDENCE: sure, ROLE: "core", SOURCE: "crawl"}
        )
    people = [dict.fromkeys(PEOPLE_SCHEMA.names) | {PERSON_ID: i, NAME: i} for i in sorted(counts)]
    wanted = pa.schema([(PHOTO_ID, pa.string()), (ROOT, pa.string()), (PATH_BYTES, pa.binary())])
    return Grouping(
        pa.Table.from_pylist(rows, schema=ASSIGNMENTS_SCHEMA),
        pa.Table.from_pylist(people, schema=PEOPLE_SCHEMA),
        pa.Table.from_pylist(places, schema=wanted),
        tuple(left),
    )
