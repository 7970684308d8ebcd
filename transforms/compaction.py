"""Tidies a library: removes what no longer counts and merges small chunk files into large ones.

After a run every row of every table counts and occurs once, so that any tool may read the folders
as they are. A crash in the middle leaves rows that occur twice, which readers of `transforms.library`
see once, and which the next tidying removes.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms import storage
from transforms.library import Library
from transforms.tables import FACE_ID, PATH_BYTES, ROOT, newest_rows

TARGET_BYTES = 256_000_000


@dataclass(frozen=True)
class Tidied:
    """What was removed and merged."""

    superseded_rows: int = 0
    forgotten_rows: int = 0
    orphan_files: int = 0
    merged_chunks: int = 0


def tidy(
    library: Library, *, run: str, forget: pa.Table | None = None, target_bytes: int = TARGET_BYTES
) -> Tidied:
    """Removes orphans, superseded and doubled rows, and compacts small chunks toward `target_bytes`.

    `forget`: a table of root and path_bytes whose photos are removed with their faces. Only for the
    holder of the lease.
    """
    orphans = library.uncommitted_files()
    for path in orphans:
        storage.remove(path)
    library.remove_partial_files()
    names = library.chunk_names()
    keep_photos, superseded, forgotten = _photos_to_keep(library, names, forget)
    if forgotten and superseded:
        # Should this stop midway, an older row of a forgotten path must not come to light.
        _drop_photo_rows(library, names, _photos_to_keep(library, names, None)[0], run)
        names = library.chunk_names()
        keep_photos, _, _ = _photos_to_keep(library, names, forget)
    if forgotten:
        # Which faces count follows from which photos there are: their rows go first.
        _drop_photo_rows(library, names, keep_photos, run)
        names = library.chunk_names()
        keep_photos, _, _ = _photos_to_keep(library, names, None)
    keep_faces = dict(library.face_rows())
    merged = 0
    for batch in _batches(library, names, keep_photos, keep_faces, target_bytes):
        tables = [_kept(library, name, keep_photos[name], keep_faces) for name in batch]
        _replace(library, batch, tables, run)
        merged += len(batch)
    return Tidied(superseded, forgotten, len(orphans), merged)


def _photos_to_keep(
    library: Library, names: list[str], forget: pa.Table | None
) -> tuple[dict[str, np.ndarray], int, int]:
    """Per chunk which photo rows stay, bool[n], and how many are superseded and forgotten."""
    tables = [library.read_chunk_keys(name) for name in names]
    if not tables:
        return {}, 0, 0
    table = pa.concat_tables(tables)
    keep = np.zeros(len(table), bool)
    keep[newest_rows(table).to_numpy()] = True
    superseded = int((~keep).sum())
    if forget is not None and len(forget):
        keys = forget.select([ROOT, PATH_BYTES]).append_column("gone", pa.array([True] * len(forget)))
        rows = table.select([ROOT, PATH_BYTES]).append_column("row", pa.array(np.arange(len(table))))
        gone = rows.join(keys, [ROOT, PATH_BYTES], join_type="inner")["row"].to_numpy()
        keep[gone] = False
    bounds = np.cumsum([0] + [len(t) for t in tables])
    kept = {name: keep[a:b] for name, a, b in zip(names, bounds, bounds[1:], strict=False)}
    return kept, superseded, int((~keep).sum()) - superseded


def _drop_photo_rows(library: Library, names: list[str], keep: dict[str, np.ndarray], run: str) -> None:
    for name in names:
        if not keep[name].all():
            photos, faces, thumbs = library.read_chunk(name)
            _replace(library, [name], [(photos.filter(pa.array(keep[name])), faces, thumbs)], run)


def _batches(library, names, keep_photos, keep_faces, target_bytes) -> Iterator[list[str]]:
    """Chunks to be written anew together: those with rows to drop, and small ones in company."""
    batch: list[str] = []
    total, dirty = 0, False

    def worth() -> bool:
        return len(batch) > 1 or dirty

    for name in names:
        size = library.chunk_bytes(name)
        drops = not keep_photos[name].all() or keep_faces.get(name) is not None
        if size > target_bytes // 2 and not drops:
            continue
        if batch and total + size > target_bytes:
            if worth():
                yield batch
            batch, total, dirty = [], 0, False
        batch.append(name)
        total += size
        dirty = dirty or drops
    if batch and worth():
        yield batch


def _kept(library, name, keep_photos, keep_faces) -> tuple[pa.Table, pa.Table | None, pa.Table | None]:
    photos, faces, thumbs = library.read_chunk(name)
    photos = photos.filter(pa.array(keep_photos))
    if faces is not None:
        keep = keep_faces.get(name)
        faces = faces if keep is None else faces.filter(pa.array(keep))
    if thumbs is not None:
        ids = faces[FACE_ID].combine_chunks() if faces is not None else pa.array([], pa.string())
        thumbs = thumbs.filter(pc.is_in(thumbs[FACE_ID], value_set=ids))
    return photos, faces, thumbs


def _replace(library: Library, old: list[str], tables: list, run: str) -> None:
    photos, faces, thumbs = (_joined([t[i] for t in tables]) for i in range(3))
    if photos is None and faces is None:
        for name in old:
            library.remove_chunk(name)
        return
    if photos is None:
        # Faces can outlive their chunk's photos: the same content under another path needs them.
        photos = tables[0][0].slice(0, 0)
    library.replace_chunks(old, f"{run}-compact-{uuid.uuid4().hex[:8]}", (photos, faces, thumbs))


def _joined(tables: list[pa.Table | None]) -> pa.Table | None:
    present = [t for t in tables if t is not None and len(t)]
    return pa.concat_tables(present) if present else None
