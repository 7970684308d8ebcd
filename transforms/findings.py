"""What `albumen dedupe` found, as a list that a person may edit and that an export obeys.

``findings.csv`` has a row per finding or, where a finding is about several photos, per photo. `action`
decides: ``merge`` (identity into other_identity), ``move`` (the photo to other_identity), ``leave-out``
(the photo), ``keep`` (nothing). ``identities.parquet`` has the crawl as it was.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from transforms import storage
from transforms.export_table import guarded, unguarded
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
    """One row. `root` and `path` are empty where the finding is about identities."""

    finding: str
    score: float
    action: str
    identity: str
    other_identity: str = ""
    root: str = ""
    path: str = ""
    other_path: str = ""
    detail: str = ""


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
    reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig", "replace"), newline=""))
    if reader.fieldnames is None or not {"action", "identity"} <= set(reader.fieldnames):
        raise LibraryError(f"{name} lacks the columns action and identity: write it anew with albumen dedupe")
    rows = []
    for cells in reader:
        plain = {c: unguarded(cells.get(c) or "") for c in _COLUMNS}
        action = plain["action"].strip().lower() or KEEP
        if action not in _ACTIONS:
            raise LibraryError(
                f"{name}, line {reader.line_num}: {action!r} is no action: give one of {', '.join(_ACTIONS)}"
            )
        if action in (MERGE, MOVE) and not plain["other_identity"]:
            raise LibraryError(f"{name}, line {reader.line_num}: {action} needs other_identity")
        if action in (MOVE, LEAVE_OUT) and not plain["path"]:
            raise LibraryError(f"{name}, line {reader.line_num}: {action} needs the photo's path")
        plain["action"] = action
        try:
            score = float(plain.pop("score") or 0)
        except ValueError:
            score = 0.0
        rows.append(FindingRow(score=score, **plain))
    return rows


def obeyed(identities: pa.Table, findings: Iterable[FindingRow]) -> pa.Table:
    """The rows of identities as the findings want them: photos moved and left out, identities merged."""
    moves: dict[tuple[str, str], str] = {}
    out: set[tuple[str, str]] = set()
    merged: dict[str, str] = {}
    for row in findings:
        if row.action == LEAVE_OUT:
            out.add((row.root, row.path))
        elif row.action == MOVE:
            moves.setdefault((row.root, row.path), row.other_identity)
        elif row.action == MERGE:
            merged.setdefault(row.identity, row.other_identity)
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
    findings = read_findings(storage.read_bytes(os.path.join(folder, FINDINGS)), name=f"{folder}/{FINDINGS}")
    table = obeyed(pq.read_table(path), findings)
    seen: set[str] = set()
    rows, counts = [], dict[str, int]()
    places = []
    for row in table.to_pylist():
        if row[FACE_ID] is None or row[FACE_ID] in seen:
            continue
        seen.add(row[FACE_ID])
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
    )
