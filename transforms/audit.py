"""Looks through a library for what should not be: damage, leftovers, rows that contradict each other.

Each check reads one file at a time; what is kept of all of them are ids (some 100 bytes a face).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.library import Library, LibraryError
from transforms.records import OK, STATUSES
from transforms.tables import (
    ASSIGNMENTS_SCHEMA,
    BOX,
    EMBEDDING,
    FACE_ID,
    INDEXED_AT,
    PATH_BYTES,
    PEOPLE_SCHEMA,
    PERSON_ID,
    PHOTO_ID,
    PHOTOS_SCHEMA,
    ROOT,
    STATUS,
    THUMBS_SCHEMA,
    faces_schema,
    matrix,
    newest_rows,
)

DAMAGED, SCHEMA, ORPHAN, DOUBLED = "damaged file", "schema", "orphan", "doubled rows"
VECTOR, BROKEN_ROW, REVISION, ORIGINAL, RECORD = (
    "vector", "row", "revision", "missing original", "record",
)  # fmt: skip
_UNIT = 2e-3
"""By how much the length of a vector may differ from 1: float32 and half precision stay far below."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: its kind, the file, what it is, how many rows. `photos` are those that
    must be indexed again for it to be right; `chunk` the chunk that it is in."""

    kind: str
    file: str
    detail: str
    count: int = 1
    chunk: str | None = None
    photos: frozenset[str] = frozenset()


def audit_tables(library: Library) -> Iterator[Finding]:
    """What is wrong with photos, faces and thumbnails."""
    dimensions: set[int] = set()
    good = True
    for path in library.uncommitted_files():
        yield Finding(ORPHAN, path, "its chunk was never committed")
    for path in library.partial_files():
        yield Finding(ORPHAN, path, "was never finished")
    keys, photo_ids, face_photos = [], [], []
    for name in library.chunk_names():
        try:
            photos, faces, thumbs = library.read_chunk(name)
        except LibraryError as error:
            good = False
            yield Finding(DAMAGED, str(error).partition(" can't be read")[0], "can't be read", chunk=name)
            continue
        found = list(_chunk(library, name, photos, faces, thumbs, dimensions))
        good = good and not any(f.kind == SCHEMA for f in found)
        yield from found
        if not any(f.kind == SCHEMA for f in found):
            keys.append(photos.select([ROOT, PATH_BYTES, INDEXED_AT, PHOTO_ID, STATUS]))
            photo_ids.append(photos[PHOTO_ID].combine_chunks())
            if faces is not None:
                face_photos.append(faces.select([FACE_ID, PHOTO_ID]))
    if good and keys:
        yield from _doubled(library, pa.concat_tables(keys), face_photos)


def _chunk(library, name, photos, faces, thumbs, dimensions: set[int]) -> Iterator[Finding]:
    place = library.file("photos", f"{name}.parquet")
    if not photos.schema.equals(PHOTOS_SCHEMA):
        yield Finding(SCHEMA, place, _difference(photos.schema, PHOTOS_SCHEMA), chunk=name)
        return
    odd = pc.invert(pc.is_in(photos[STATUS], value_set=pa.array(STATUSES)))
    if pc.any(odd).as_py():
        yield Finding(BROKEN_ROW, place, "a status that there is not", pc.sum(odd).as_py(), chunk=name)
    if thumbs is not None and not thumbs.schema.equals(THUMBS_SCHEMA):
        yield Finding(SCHEMA, f"thumbs of {name}", _difference(thumbs.schema, THUMBS_SCHEMA), chunk=name)
    if faces is None or not len(faces):
        return
    kind = faces.schema.field(EMBEDDING).type if EMBEDDING in faces.column_names else None
    size = kind.list_size if kind is not None and pa.types.is_fixed_size_list(kind) else 1
    if not faces.schema.equals(faces_schema(size)) or (dimensions and size not in dimensions):
        yield Finding(SCHEMA, f"faces of {name}", _difference(faces.schema, faces_schema(size)), chunk=name)
        return
    dimensions.add(size)
    lengths = np.linalg.norm(matrix(faces[EMBEDDING]).astype(np.float64), axis=1)
    wrong = ~(np.abs(lengths - 1) <= _UNIT)  # NaN as well
    boxes = matrix(faces[BOX])
    inverted = ~((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))
    for which, kind_of, detail in (
        (wrong, VECTOR, "not unit vectors"),
        (inverted, BROKEN_ROW, "boxes without an area"),
    ):
        if which.any():
            ids = frozenset(faces[PHOTO_ID].filter(pa.array(which)).to_pylist())
            yield Finding(kind_of, f"faces of {name}", detail, int(which.sum()), name, ids)


def _doubled(library: Library, photos: pa.Table, faces: list[pa.Table]) -> Iterator[Finding]:
    newest = photos.take(newest_rows(photos))
    if len(newest) < len(photos):
        yield Finding(DOUBLED, library.file("photos"), "superseded rows", len(photos) - len(newest))
    ok = newest.filter(pc.equal(newest[STATUS], OK))[PHOTO_ID].combine_chunks().unique()
    table = pa.concat_tables(faces) if faces else faces_schema(1).empty_table().select([FACE_ID, PHOTO_ID])
    doubled = len(table) - len(table[FACE_ID].unique())
    if doubled:
        yield Finding(DOUBLED, library.file("faces"), "faces that are there twice", doubled)
    stray = pc.invert(pc.is_in(table[PHOTO_ID], value_set=ok))
    if pc.any(stray).as_py():
        yield Finding(ORPHAN, library.file("faces"), "faces of photos that are gone", pc.sum(stray).as_py())
    bare = pc.invert(pc.is_in(ok, value_set=table[PHOTO_ID].combine_chunks()))
    if pc.any(bare).as_py():
        ids = frozenset(ok.filter(bare).to_pylist())
        yield Finding(
            BROKEN_ROW, library.file("photos"), "photos with faces whose faces are gone", len(ids), photos=ids
        )


def audit_revisions(library: Library) -> Iterator[Finding]:
    """What is wrong with the groupings."""
    current = library.current_revision()
    complete = []
    for revision in library.revisions():
        found = list(_revision(library, revision))
        yield from found
        if not any(f.kind in (DAMAGED, REVISION) for f in found):
            complete.append(revision)
    if current is not None and current not in complete:
        yield Finding(REVISION, library.file("people", "CURRENT"), f"names {current}, which is not complete")


def _revision(library: Library, revision: str) -> Iterator[Finding]:
    folder = library.file("people", revision)
    names = {path.rpartition("/")[2] for path in library.revision_files(revision)}
    missing = {"assignments.parquet", "people.parquet", "grouping.json"} - names
    if missing:
        yield Finding(REVISION, folder, f"not complete: no {', '.join(sorted(missing))}")
        return
    try:
        assigned, people = library.read_assignments(revision), library.read_people(revision)
    except LibraryError as error:
        yield Finding(DAMAGED, str(error).partition(" can't be read")[0], "can't be read")
        return
    for table, schema in ((assigned, ASSIGNMENTS_SCHEMA), (people, PEOPLE_SCHEMA)):
        lacking = set(schema.names) - set(table.column_names)
        if lacking:
            yield Finding(REVISION, folder, f"no column {', '.join(sorted(lacking))}")
            return
    if len(assigned[FACE_ID].unique()) < len(assigned):
        yield Finding(REVISION, folder, "faces that are assigned twice")
    members = assigned[PERSON_ID].drop_null().unique()
    unknown = pc.invert(pc.is_in(members, value_set=people[PERSON_ID].combine_chunks()))
    if pc.any(unknown).as_py():
        yield Finding(REVISION, folder, "people who are not listed", pc.sum(unknown).as_py())


def _difference(found: pa.Schema, wanted: pa.Schema) -> str:
    missing = [n for n in wanted.names if n not in found.names]
    other = [n for n in wanted.names if n in found.names and found.field(n).type != wanted.field(n).type]
    parts = [f"no column {', '.join(missing)}"] if missing else []
    parts += [f"column {n} is {found.field(n).type}, not {wanted.field(n).type}" for n in other]
    return "; ".join(parts) or "columns in another order, or more of them"
