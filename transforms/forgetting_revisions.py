"""Revisions, successors and logs without what is forgotten: each file is written anew, or stays as it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms import storage
from transforms.decision_files import ANCHORS
from transforms.forgetting_corrections import anchors_json_left
from transforms.library import Library
from transforms.mentions import Mentions
from transforms.tables import (
    CONFIDENCE,
    COVER,
    FACE_ID,
    FACES,
    NAME,
    PERSON_ID,
    PHOTO_ID,
    PHOTOS_COUNT,
    ROLE,
    SUCCESSOR_ID,
)

_SUCCESSORS = "successors"


def rewrite_revision(library: Library, revision: str, gone: Mentions) -> int:
    """Writes a revision's files anew without what is forgotten; how many.

    A revision is a grouping of then: its people keep their ids, with true counts and covers.
    """
    written = 0
    assigned: pa.Table | None = None
    # Assignments first: counts of people follow from them.
    for path in sorted(library.revision_files(revision), key=lambda p: not p.endswith("assignments.parquet")):
        if path.endswith(f"/{ANCHORS}"):
            written += _rewrite_json(path, lambda anchors: anchors_json_left(anchors, gone))
        elif path.endswith(".json"):
            written += _rewrite_json(path, gone.without)
        elif path.endswith(".parquet"):
            table = library.read_table(path)
            if FACE_ID in table.column_names:
                new = assigned = _without_faces(table, gone)
            elif COVER in table.column_names and assigned is not None:
                new = _without_people(table, assigned, gone)
            else:
                new = _without_gone_people(table, gone)
            written += _rewrite_table(library, path, table, new)
    return written


def rewrite_successors(library: Library, gone: Mentions) -> int:
    """Writes the files of successors anew without pairs that hold a forgotten face; how many."""
    written, folder = 0, library.file(_SUCCESSORS)
    for name in storage.file_names(folder, suffix=".parquet"):
        path = storage.join(folder, name)
        table = library.read_table(path)
        either = pc.or_(_gone_faces(table[FACE_ID], gone), _gone_faces(table[SUCCESSOR_ID], gone))
        written += _rewrite_table(library, path, table, table.filter(pc.invert(either)))
    return written


def rewrite_log(path: str, gone: Mentions) -> int:
    """Writes a log anew without messages that speak of what is forgotten; 1 where there were some."""
    if path.endswith(".json"):
        return _rewrite_json(path, gone.without)
    data = storage.read_bytes(path)
    lines = data.splitlines(keepends=True)
    new = b"".join(line for line in lines if not gone.within(line.decode("utf-8", "replace")))
    if new != data:
        storage.write_bytes(path, new)
    return int(new != data)


def _rewrite_table(library: Library, path: str, table: pa.Table, new: pa.Table) -> int:
    if new.equals(table):
        return 0
    library.write_table(path, new)
    return 1


def _rewrite_json(path: str, left: Callable[[Any], object]) -> int:
    try:
        data = json.loads(storage.read_bytes(path))
    except ValueError:  # damaged: nobody can tell what it holds
        storage.remove(path)
        return 1
    new = left(data)
    if new == data:
        return 0
    storage.write_bytes(path, json.dumps(new, indent=2).encode())
    return 1


def _without_faces(table: pa.Table, gone: Mentions) -> pa.Table:
    table = table.filter(pc.invert(_gone_faces(table[FACE_ID], gone)))
    # Faces that an older revision gave to a person who is forgotten belong to nobody there.
    orphaned = _in(table[PERSON_ID], gone.ids)
    for column, value in ((PERSON_ID, None), (CONFIDENCE, 0.0), (ROLE, "ungrouped")):
        new = pc.if_else(orphaned, pa.scalar(value, table[column].type), table[column])
        table = table.set_column(table.column_names.index(column), column, new)
    return table


def _without_people(people: pa.Table, assigned: pa.Table, gone: Mentions) -> pa.Table:
    """The people who still have faces, with counts and covers that are true again."""
    rows = assigned.filter(pc.is_valid(assigned[PERSON_ID]))
    rows = rows.append_column(PHOTO_ID, pc.list_element(pc.split_pattern(rows[FACE_ID], ":"), 0))
    counts = rows.group_by(PERSON_ID).aggregate([(FACE_ID, "count"), (PHOTO_ID, "count_distinct")])
    number = {p: i for i, p in enumerate(counts[PERSON_ID].to_pylist())}
    faces, photos = counts[f"{FACE_ID}_count"].to_pylist(), counts[f"{PHOTO_ID}_count_distinct"].to_pylist()
    lost = set(people[COVER].to_pylist()) - set(rows[FACE_ID].to_pylist())
    best = _surest(rows) if lost else {}
    kept = []
    for row in people.to_pylist():
        place = number.get(row[PERSON_ID])
        if place is None or row[PERSON_ID] in gone.ids:
            continue
        if row[COVER] in lost:
            row[COVER] = best[row[PERSON_ID]]
        if row[NAME] in gone.names:  # somebody else of then, who had the name
            row[NAME] = None
        kept.append({**row, FACES: faces[place], PHOTOS_COUNT: photos[place]})
    return pa.Table.from_pylist(kept, schema=people.schema)


def _surest(rows: pa.Table) -> dict[str, str]:
    order = np.argsort(rows[CONFIDENCE].to_numpy(), kind="stable")
    ids, faces = rows[PERSON_ID].to_pylist(), rows[FACE_ID].to_pylist()
    return {ids[i]: faces[i] for i in order}


def _without_gone_people(table: pa.Table, gone: Mentions) -> pa.Table:
    """People of revisions before, each with the faces that are not forgotten."""
    kept = []
    for row in table.to_pylist():
        faces = gone.faces_left(row[FACES] or ())
        if faces and row[PERSON_ID] not in gone.ids and row[NAME] not in gone.names:
            kept.append({**row, FACES: list(faces)})
    return pa.Table.from_pylist(kept, schema=table.schema)


def _gone_faces(faces: pa.ChunkedArray, gone: Mentions) -> pa.ChunkedArray:
    photos = pc.list_element(pc.split_pattern(faces, ":"), 0)
    return pc.or_(_in(faces, gone.faces), _in(photos, gone.photos))


def _in(column: pa.ChunkedArray, values: frozenset[str]) -> pa.ChunkedArray:
    return pc.is_in(column, value_set=pa.array(sorted(values), pa.string()))
