"""Removes faces, photos and people from every place of a library.

What is to be removed is written down first (``forgetting.json``), so that an interrupted removal is
finished by whatever comes next; then the tombstones, that nothing comes back; then every file that
holds something is written anew without it, or removed. Removal is by unlinking: snapshots and backups
of the drive are their owner's to clear.
"""

from __future__ import annotations

import csv
import io
import json
import re
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms import storage
from transforms.library import MANIFESTS, REPORT, Library, LibraryError
from transforms.records import NO_FACE, SKIPPED
from transforms.tables import (
    CONFIDENCE,
    COVER,
    FACE_ID,
    FACES,
    HEIGHT,
    PERSON_ID,
    PHOTO_ID,
    PHOTOS_COUNT,
    REASON,
    ROLE,
    STATUS,
    TAKEN_AT,
    UTC_OFFSET,
    WIDTH,
)
from transforms.tombstones import EVERYTHING, FORGOTTEN, Tombstone, add_tombstones

PENDING = "forgetting.json"
_CORRECTIONS, _GRAPH, _SUCCESSORS = "corrections.csv", "graph", "successors"
_ALL_FOLDERS = (
    "faces", "thumbs", "photos", "people", _GRAPH, REPORT, _SUCCESSORS, "export", MANIFESTS, "logs",
)  # fmt: skip
_ID = re.compile(r"[0-9a-f]{32}:\d+|\b[pc]-[0-9a-f]{8,}")


@dataclass(frozen=True)
class Removal:
    """What has to go: faces by id, photos by id with all their faces, people by id, and their names;
    `paths` are the printable paths of the photos. `everything` leaves nothing but the tombstone."""

    faces: frozenset[str] = frozenset()
    photos: frozenset[str] = frozenset()
    people: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    paths: frozenset[str] = frozenset()
    stones: tuple[Tombstone, ...] = ()
    everything: bool = False

    def to_json(self) -> bytes:
        """As text."""
        data = asdict(self)
        for key in ("faces", "photos", "people", "names", "paths"):
            data[key] = sorted(data[key])
        data["stones"] = [{**stone, "path": stone["path"].hex()} for stone in data["stones"]]
        return json.dumps(data).encode("ascii")

    @classmethod
    def from_json(cls, text: bytes) -> Removal:
        """Reads what `to_json` wrote."""
        data = json.loads(text)
        stones = tuple(
            Tombstone(
                s["photo_id"], s["root"], bytes.fromhex(s["path"]), tuple(s["box"]) if s["box"] else None
            )
            for s in data.pop("stones")
        )
        everything = data.pop("everything")
        sets = {key: frozenset(values) for key, values in data.items()}
        return cls(**sets, stones=stones, everything=everything)


@dataclass(frozen=True)
class Removed:
    """What was removed and written anew; `left` names files of exports that somebody has changed, or
    that can't be reached, and that must be looked at by hand."""

    faces: int = 0
    photos: int = 0
    people: int = 0
    files: int = 0
    left: tuple[str, ...] = ()


def forget(library: Library, removal: Removal, *, clear_exports: Callable[[Library], list[str]]) -> Removed:
    """Carries a removal out. The caller holds the lease; `clear_exports` removes all exports on record
    and says what it had to leave."""
    storage.write_bytes(library.file(PENDING), removal.to_json())
    return _finish(library, removal, clear_exports)


def finish(library: Library, *, clear_exports: Callable[[Library], list[str]]) -> Removed | None:
    """Ends a removal that was interrupted; None where there is none."""
    path = library.file(PENDING)
    if not storage.exists(path):
        return None
    return _finish(library, Removal.from_json(storage.read_bytes(path)), clear_exports)


def _finish(library: Library, removal: Removal, clear_exports: Callable[[Library], list[str]]) -> Removed:
    add_tombstones(library, removal.stones)
    left = clear_exports(library)
    for name in [*_report_folders(library), library.file(_GRAPH)]:
        _remove_folder(name)
    if removal.everything:
        for name in _ALL_FOLDERS:
            _remove_folder(library.file(name))
        storage.remove(library.file(_CORRECTIONS))
        removed = Removed(left=tuple(left))
    else:
        for path in library.uncommitted_files():
            storage.remove(path)
        library.remove_partial_files()
        removed = _rewrite_chunks(library, removal)
        revisions = sum(_rewrite_revision(library, name, removal) for name in library.revisions())
        revisions += _rewrite_successors(library, removal) + _rewrite_corrections(library, removal)
        removed = replace(removed, files=removed.files + revisions, left=tuple(left))
        removed = replace(removed, people=len(removal.people))
    storage.remove(library.file(PENDING))
    return removed


def _remove_folder(path: str) -> None:
    storage.remove_folder(path)
    if storage.folder_names(path) or storage.file_names(path):
        raise LibraryError(f"{path} can't be removed: is it open elsewhere, and may this user write there?")


def _report_folders(library: Library) -> list[str]:
    names = storage.folder_names(library.path)
    return [library.file(n) for n in names if n == REPORT or n.startswith(f"{REPORT}.")]


# -- photos, faces, thumbnails -------------------------------------------------------------------


def _rewrite_chunks(library: Library, removal: Removal) -> Removed:
    faces, photos = _values(removal.faces), _values(removal.photos)
    emptied = _values(_emptied(library, removal))
    face_rows = photo_rows = files = 0
    for name in library.chunk_names():
        photo_table, _, thumbs = library.read_chunk(name)
        tables = library.read_all_faces(name)
        keep = {
            fingerprint: pc.invert(pc.or_(_in(t[FACE_ID], faces), _in(t[PHOTO_ID], photos)))
            for fingerprint, t in tables.items()
        }
        gone = _in(photo_table[PHOTO_ID], photos)
        bare = _in(photo_table[PHOTO_ID], emptied)
        dropped = max((len(k) - (pc.sum(k).as_py() or 0) for k in keep.values()), default=0)
        stale_thumbs = thumbs is not None and pc.any(_thumbs_of(thumbs, faces, photos)).as_py()
        shown = pc.and_(gone, pc.not_equal(photo_table[STATUS], SKIPPED))
        changed = pc.or_(shown, pc.and_(bare, pc.not_equal(photo_table[STATUS], NO_FACE)))
        if not dropped and not stale_thumbs and not pc.any(changed).as_py():
            continue
        if thumbs is not None:
            thumbs = thumbs.filter(pc.invert(_thumbs_of(thumbs, faces, photos)))
        library.rewrite_chunk(
            name,
            f"{name.partition('-forgot-')[0]}-forgot-{uuid.uuid4().hex[:8]}",
            photos=_described(photo_table, gone, bare),
            faces={fingerprint: t.filter(keep[fingerprint]) for fingerprint, t in tables.items()},
            thumbs=thumbs,
        )
        files, face_rows = files + 1, face_rows + dropped
        photo_rows += pc.sum(gone).as_py() or 0
    return Removed(face_rows, photo_rows, 0, files)


def _emptied(library: Library, removal: Removal) -> frozenset[str]:
    """Photos that have no face left once the faces of `removal` are gone."""
    touched = {face.rpartition(":")[0] for face in removal.faces} - removal.photos
    wanted = _values(frozenset(touched))
    for table in library.iter_stored_faces([FACE_ID, PHOTO_ID]):
        kept = table.filter(
            pc.and_(_in(table[PHOTO_ID], wanted), pc.invert(_in(table[FACE_ID], _values(removal.faces))))
        )
        touched -= set(kept[PHOTO_ID].to_pylist())
    return frozenset(touched)


def _described(photos: pa.Table, gone: pa.ChunkedArray, bare: pa.ChunkedArray) -> pa.Table:
    """Photo rows with the states that follow from what was forgotten."""
    states = ((gone, SKIPPED, FORGOTTEN), (bare, NO_FACE, "its faces were forgotten"))
    for which, status, reason in states:
        for column, value in ((STATUS, status), (REASON, reason)):
            changed = pc.if_else(which, pa.scalar(value), photos[column])
            photos = photos.set_column(photos.column_names.index(column), column, changed)
    for column in (WIDTH, HEIGHT, TAKEN_AT, UTC_OFFSET):
        cleared = pc.if_else(gone, pa.scalar(None, photos[column].type), photos[column])
        photos = photos.set_column(photos.column_names.index(column), column, cleared)
    return photos


def _thumbs_of(thumbs: pa.Table, faces: pa.Array, photos: pa.Array) -> pa.ChunkedArray:
    of_photo = pc.list_element(pc.split_pattern(thumbs[FACE_ID], ":"), 0)
    return pc.or_(_in(thumbs[FACE_ID], faces), _in(of_photo, photos))


# -- revisions and decisions ---------------------------------------------------------------------


def _rewrite_revision(library: Library, revision: str, removal: Removal) -> int:
    """Writes a revision's files anew without what is forgotten; how many."""
    written = 0
    assigned: pa.Table | None = None
    # Assignments first: counts of people follow from them.
    for path in sorted(library.revision_files(revision), key=lambda p: not p.endswith("assignments.parquet")):
        if path.endswith(".json"):
            written += _rewrite_json(path, removal)
        if not path.endswith(".parquet"):
            continue
        table = library.read_table(path)
        if FACE_ID in table.column_names:
            new = assigned = _without_faces(table, removal)
        elif COVER in table.column_names and assigned is not None:
            new = _without_people(table, assigned, removal)
        else:
            new = table.filter(pc.invert(_mentions(table, removal)))
        if not new.equals(table):
            library.write_table(path, new)
            written += 1
    return written


def _without_faces(table: pa.Table, removal: Removal) -> pa.Table:
    gone = pc.or_(
        _in(table[FACE_ID], _values(removal.faces)), _in(_photos_of(table), _values(removal.photos))
    )
    table = table.filter(pc.invert(gone))
    # Faces that an older revision gave to a person who is forgotten belong to nobody there.
    orphaned = _in(table[PERSON_ID], _values(removal.people))
    for column, value in ((PERSON_ID, None), (CONFIDENCE, 0.0), (ROLE, "ungrouped")):
        new = pc.if_else(orphaned, pa.scalar(value, table[column].type), table[column])
        table = table.set_column(table.column_names.index(column), column, new)
    return table


def _without_people(people: pa.Table, assigned: pa.Table, removal: Removal) -> pa.Table:
    """The people who still have faces, with counts and covers that are true again."""
    rows = assigned.filter(pc.is_valid(assigned[PERSON_ID]))
    rows = rows.append_column(PHOTO_ID, _photos_of(rows))
    counts = rows.group_by(PERSON_ID).aggregate([(FACE_ID, "count"), (PHOTO_ID, "count_distinct")])
    number = {p: i for i, p in enumerate(counts[PERSON_ID].to_pylist())}
    faces, photos = counts[f"{FACE_ID}_count"].to_pylist(), counts[f"{PHOTO_ID}_count_distinct"].to_pylist()
    lost = set(people[COVER].to_pylist()) - set(rows[FACE_ID].to_pylist())
    best = _surest(rows) if lost else {}
    kept = []
    for row in people.to_pylist():
        place = number.get(row[PERSON_ID])
        if place is None or row[PERSON_ID] in removal.people:
            continue
        if row[COVER] in lost:
            row[COVER] = best[row[PERSON_ID]]
        kept.append({**row, FACES: faces[place], PHOTOS_COUNT: photos[place]})
    return pa.Table.from_pylist(kept, schema=people.schema)


def _surest(rows: pa.Table) -> dict[str, str]:
    order = np.argsort(rows[CONFIDENCE].to_numpy(), kind="stable")
    ids, faces = rows[PERSON_ID].to_pylist(), rows[FACE_ID].to_pylist()
    return {ids[i]: faces[i] for i in order}


def _rewrite_json(path: str, removal: Removal) -> int:
    """Drops what a JSON object of text says of faces and people that are forgotten."""
    data = json.loads(storage.read_bytes(path))
    gone = removal.faces | removal.people | removal.names
    if not isinstance(data, dict):
        return 0
    kept = {k: v for k, v in data.items() if k not in gone and not (isinstance(v, str) and v in gone)}
    if kept == data:
        return 0
    storage.write_bytes(path, json.dumps(kept, indent=2).encode())
    return 1


def _rewrite_successors(library: Library, removal: Removal) -> int:
    written, folder = 0, library.file(_SUCCESSORS)
    for name in storage.file_names(folder, suffix=".parquet"):
        path = storage.join(folder, name)
        table = library.read_table(path)
        new = table.filter(pc.invert(_mentions(table, removal)))
        if len(new) < len(table):
            library.write_table(path, new)
            written += 1
    return written


def _rewrite_corrections(library: Library, removal: Removal) -> int:
    path = library.file(_CORRECTIONS)
    if not storage.exists(path):
        return 0
    data = storage.read_bytes(path)
    new = without_mentions(data, removal)
    if new != data:
        storage.write_bytes(path, new)
    return int(new != data)


def without_mentions(data: bytes, removal: Removal) -> bytes:
    """A corrections file without the lines that speak of what is forgotten; of lines that list several
    faces only the mention goes. Lines that hold nothing of it stay byte for byte."""
    gone = removal.faces | removal.people
    places = removal.paths | removal.names
    kept = []
    for line in data.splitlines(keepends=True):
        text = line.decode("utf-8", "surrogateescape").lstrip("\ufeff")
        delimiter = next((d for d in ",;\t" if d in text), ",")
        try:
            cells = next(csv.reader([text.rstrip("\r\n")], delimiter=delimiter), [])
        except csv.Error:
            cells = [text]
        mentioned = [cell for cell in cells if _speaks_of(cell, gone, removal.photos)]
        whole = [
            c
            for c in cells
            if c.strip().lstrip("'").rpartition("#")[0] in places or c.strip().lstrip("'") in places
        ]
        if not mentioned and not whole:
            kept.append(line)
        elif not whole and all(len(_ID.findall(cell)) > 1 for cell in mentioned):
            out = io.StringIO(newline="")
            ending = text[len(text.rstrip("\r\n")) :]
            rest = [_reduced(c, gone, removal.photos) if c in mentioned else c for c in cells]
            if all(rest[i] for i, cell in enumerate(cells) if cell):
                csv.writer(out, delimiter=delimiter, lineterminator=ending).writerow(rest)
                kept.append(out.getvalue().encode("utf-8", "surrogateescape"))
    return b"".join(kept)


def _speaks_of(cell: str, gone: frozenset[str], photos: frozenset[str]) -> bool:
    return any(i in gone or i.partition(":")[0] in photos for i in _ID.findall(cell)) or cell in photos


def _reduced(cell: str, gone: frozenset[str], photos: frozenset[str]) -> str:
    parts = [p for p in cell.split(" | ") if not _speaks_of(p, gone, photos)]
    return " | ".join(parts)


def _mentions(table: pa.Table, removal: Removal) -> pa.ChunkedArray | pa.Array:
    """bool: which rows have a text that is forgotten."""
    gone = _values(removal.faces | removal.people | removal.photos)
    found = pa.array(np.zeros(len(table), bool))
    for column in table.columns:
        if pa.types.is_string(column.type):
            found = pc.or_(found, _in(column, gone))
    return found


def _photos_of(table: pa.Table) -> pa.ChunkedArray:
    return pc.list_element(pc.split_pattern(table[FACE_ID], ":"), 0)


def _values(ids: frozenset[str]) -> pa.Array:
    return pa.array(sorted(ids), pa.string())


def _in(column: pa.ChunkedArray, values: pa.Array) -> pa.ChunkedArray:
    return pc.is_in(column, value_set=values)


def everything() -> Removal:
    """The removal of all that a library holds."""
    return Removal(everything=True, stones=(Tombstone(EVERYTHING, "", b"", None),))
