"""Mends what `transforms.audit` found in a library's tables, without losing what can be kept."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from transforms import storage
from transforms.audit import DAMAGED, SCHEMA, Finding
from transforms.library import Library, LibraryError
from transforms.tables import EMBEDDING, PHOTO_ID, PHOTOS_SCHEMA, THUMBS_SCHEMA, faces_schema


def repair_tables(library: Library, findings: Sequence[Finding], *, run: str, can_index: bool) -> int:
    """Tables whose columns only stand in another order, or are of another width, are written as they should
    be. Files that are damaged or lack columns go, and photos with broken rows, so that the next run indexes
    these photos again; but only where it `can_index`, that is, where the originals are. The rest is for
    `transforms.compaction`. Returns how many photos are to be indexed again, as far as that can be told.
    """
    again = 0
    for number, name in enumerate(sorted({f.chunk for f in findings if f.chunk and f.kind == SCHEMA})):
        if not _recast(library, name, f"{run}-s{number:05d}") and can_index:
            again += _photo_count(library, name)
            library.remove_chunk(name)
    if not can_index:
        return 0
    for name in sorted({f.chunk for f in findings if f.chunk and f.kind == DAMAGED}):
        again += _photo_count(library, name)
        library.remove_chunk(name)
    return again + _take_out(library, frozenset().union(*(f.photos for f in findings)), run)


def _recast(library: Library, name: str, new: str) -> bool:
    """Gives a chunk's tables their schemas where that loses nothing; whether that mends it."""
    try:
        photos, _, thumbs = library.read_chunk(name)
        faces = library.read_all_faces(name)
        right = {kind: _as(table, faces_schema(_size(table))) for kind, table in faces.items()}
        right_photos = _as(photos, PHOTOS_SCHEMA)
        right_thumbs = None if thumbs is None else _as(thumbs, THUMBS_SCHEMA)
    except (LibraryError, KeyError, ValueError, NotImplementedError):  # Arrow's errors are among these
        return False
    pairs = [(photos, right_photos), *((faces[kind], right[kind]) for kind in faces)]
    pairs += [] if thumbs is None else [(thumbs, right_thumbs)]
    if all(before.schema.equals(after.schema) for before, after in pairs):
        return False  # it is something else, such as vectors of another length
    library.rewrite_chunk(name, new, photos=right_photos, faces=right, thumbs=right_thumbs)
    return True


def _as(table: pa.Table, schema: pa.Schema) -> pa.Table:
    return table.select(schema.names).cast(schema)


def _size(faces: pa.Table) -> int:
    kind = faces.schema.field(EMBEDDING).type
    if not pa.types.is_fixed_size_list(kind):
        raise ValueError("vectors of no fixed size")
    return int(kind.list_size)


def _photo_count(library: Library, name: str) -> int:
    try:
        return len(library.read_chunk_keys(name))
    except LibraryError:
        return 0


def _take_out(library: Library, photo_ids: frozenset[str], run: str) -> int:
    if not photo_ids:
        return 0
    wanted, taken = pa.array(sorted(photo_ids)), 0
    for number, name in enumerate(library.chunk_names()):
        photos, _, thumbs = library.read_chunk(name)
        faces = library.read_all_faces(name)
        keep = pc.invert(pc.is_in(photos[PHOTO_ID], value_set=wanted))
        stale = [pc.is_in(t[PHOTO_ID], value_set=wanted) for t in faces.values()]
        if pc.all(keep).as_py() and not any(pc.any(s).as_py() for s in stale):
            continue
        kept = {k: t.filter(pc.invert(s)) for (k, t), s in zip(faces.items(), stale, strict=True)}
        library.rewrite_chunk(
            name, f"{run}-{number:05d}", photos=photos.filter(keep), faces=kept, thumbs=thumbs
        )
        taken += len(photos) - (pc.sum(keep).as_py() or 0)
    return taken


def remove_partial(library: Library) -> None:
    """Removes orphans and files that were never finished."""
    for path in [*library.uncommitted_files(), *library.partial_files()]:
        storage.remove(path)
