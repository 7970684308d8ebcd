"""What of the rows on disk counts: the present state of the photos, and their faces, each once.

Chunk files are never changed, so work that is done twice leaves two files; readers take the newest row of
a path and the first file that holds a photo's faces, and `transforms.compaction` removes the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms import storage
from transforms.chunk_files import ChunkFiles
from transforms.records import OK
from transforms.table_files import iter_table
from transforms.table_files import read_table as _read
from transforms.tables import (
    FACE_ID,
    PATH_BYTES,
    PHOTO_ID,
    PHOTOS_SCHEMA,
    REASON,
    ROOT,
    ROW_KEYS,
    STATUS,
    TAKEN_AT,
    digest,
    faces_schema,
    newest_rows,
)


@dataclass(frozen=True)
class FaceOrder:
    """The faces that count: `chunks` as `face_rows` gives them; int64[c + 1] `starts`, the number of each
    chunk's first face; int64[n] `rank`, the place in order of face_id of each face in order of chunks."""

    chunks: Sequence[tuple[str, np.ndarray | None]]
    starts: np.ndarray
    rank: np.ndarray


class PresentRows(ChunkFiles):
    """The part of a `Library` that reads across chunks."""

    def read_photos(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The present state of every photo: the newest row of each path, in order of root and path."""
        wanted = list(columns) if columns else PHOTOS_SCHEMA.names
        needed = list(dict.fromkeys([*wanted, *ROW_KEYS]))
        tables = [_read(self._photos_path(n), needed) for n in self.chunk_names()]
        if not tables:
            return PHOTOS_SCHEMA.empty_table().select(wanted)
        table = pa.concat_tables(tables)
        return (
            table.take(newest_rows(table))
            .sort_by([(ROOT, "ascending"), (PATH_BYTES, "ascending")])
            .select(wanted)
        )

    def read_faces(self, columns: Sequence[str]) -> pa.Table:
        """The faces of photos that are part of the library now, each once, in order of face_id.

        The order does not depend on how the library was made, so neither does what is computed from it.
        """
        return self.read_faces_in_order(columns)[0]

    def read_faces_in_order(self, columns: Sequence[str]) -> tuple[pa.Table, FaceOrder]:
        """What `read_faces` gives, and where it stands: finding that out takes a while in a large library."""
        needed = list(dict.fromkeys([*columns, FACE_ID]))
        chunks = list(self.face_rows())
        parts = []
        for name, keep in chunks:
            table = self._read_face_columns(name, needed)
            parts.append(table if keep is None else table.filter(pa.array(keep)))
        table = pa.concat_tables(parts) if parts else faces_schema(1).empty_table().select(needed)
        by_id = pc.sort_indices(table[FACE_ID])
        rank = np.empty(len(by_id), np.int64)
        rank[by_id.to_numpy()] = np.arange(len(by_id))
        order = FaceOrder(chunks, np.cumsum([0, *map(len, parts)]), rank)
        return table.take(by_id).select(list(columns)), order

    def iter_faces(
        self, columns: Sequence[str], *, rows: int = 16_384,
        of: Iterable[tuple[str, np.ndarray | None]] | None = None,
    ) -> Iterator[pa.Table]:  # fmt: skip
        """The faces of `read_faces`, each once, at most `rows` at a time, in the order of chunks.

        `of` is what `face_rows` gave, where that is known.
        """
        fingerprint = self.info().fingerprint
        for name, keep in self.face_rows() if of is None else of:
            assert fingerprint is not None
            start = 0
            for table in iter_table(self._face_path(fingerprint, name), list(columns), rows=rows):
                part = None if keep is None else keep[start : start + len(table)]
                start += len(table)
                yield table if part is None else table.filter(pa.array(part))

    def face_rows(self) -> Iterator[tuple[str, np.ndarray | None]]:
        """Which rows of each chunk's faces count: (chunk, bool[n]), or None for all of them.

        A face counts when its photo is part of the library now, and only in the first chunk that
        holds faces of that photo.
        """
        names = self.chunks_with_faces()
        photos = self.read_photos([PHOTO_ID, STATUS])
        active = photos.filter(pc.equal(photos[STATUS], OK))[PHOTO_ID].combine_chunks()
        ids = [self._read_face_columns(n, [PHOTO_ID])[PHOTO_ID].combine_chunks() for n in names]
        if not ids:
            return
        # One number for each photo in all chunks: then a mask for each chunk is arithmetic.
        coded = pa.chunked_array(ids).cast(pa.large_string()).combine_chunks().dictionary_encode()
        codes = np.split(coded.indices.to_numpy(), np.cumsum([len(part) for part in ids])[:-1])
        owner = np.full(len(coded.dictionary), len(ids))
        for number in reversed(range(len(ids))):
            owner[codes[number]] = number
        here = pc.is_in(coded.dictionary, value_set=active.cast(pa.large_string()))
        active_codes = here.to_numpy(zero_copy_only=False)
        for number, name in enumerate(names):
            keep = active_codes[codes[number]] & (owner[codes[number]] == number)
            yield name, None if keep.all() else keep

    def _read_face_columns(self, name: str, columns: Sequence[str]) -> pa.Table:
        fingerprint = self.info().fingerprint
        assert fingerprint is not None
        return _read(self._face_path(fingerprint, name), list(columns))

    def iter_thumbs(self) -> Iterator[pa.Table]:
        """All thumbnails, file by file, as tables of face_id and jpeg; a face may come twice."""
        for path in map(self._thumbs_path, self.chunk_names()):
            if storage.exists(path):
                yield _read(path)

    def iter_photos(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Rows of photos chunk by chunk as they lie on disk: those superseded are among them."""
        for name in self.chunk_names():
            yield _read(self._photos_path(name), list(columns))

    def iter_stored_faces(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Rows of faces chunk by chunk as they lie on disk: doubled ones are among them, in a later
        chunk than those that count, and faces of photos that are no longer part of the library."""
        for name in self.chunks_with_faces():
            yield self._read_face_columns(name, columns)

    def read_photo_history(self, columns: Sequence[str]) -> pa.Table:
        """Every row of the photos table, superseded ones too until the library is tidied."""
        tables = [_read(self._photos_path(n), list(columns)) for n in self.chunk_names()]
        return pa.concat_tables(tables) if tables else PHOTOS_SCHEMA.empty_table().select(list(columns))

    def read_faces_of(self, photo_ids: Sequence[str], columns: Sequence[str]) -> pa.Table:
        """The faces of some photos, whether or not these are part of the library now."""
        parts, wanted = [], pa.array(photo_ids, pa.string())
        for name in self.chunks_with_faces():
            inside = pc.is_in(self._read_face_columns(name, [PHOTO_ID])[PHOTO_ID], value_set=wanted)
            if pc.any(inside).as_py():
                parts.append(self._read_face_columns(name, columns).filter(inside))
        return pa.concat_tables(parts) if parts else faces_schema(1).empty_table().select(list(columns))

    def faces_state(self) -> str:
        """A short name for which faces there are: people need to be grouped anew when it changes."""
        return self.state_of(self.read_faces([FACE_ID]))

    @staticmethod
    def state_of(faces: pa.Table) -> str:
        """The `faces_state` of a library with just these faces, in order of face_id."""
        return digest(faces.select([FACE_ID]))

    def photos_state(self) -> str:
        """A short name for what is known of every photo: with the people, what a report shows."""
        return digest(self.read_photos([ROOT, PATH_BYTES, PHOTO_ID, STATUS, REASON, TAKEN_AT]))
