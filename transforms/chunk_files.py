"""Chunks on disk: photos, faces and thumbnails, committed together and never changed.

Three tables grow while indexing, one file per chunk in each, all three under the same name::

    faces/<fingerprint>/<chunk>.parquet     written first
    thumbs/<chunk>.parquet                  written second
    photos/<chunk>.parquet                  written last: the commit record

Faces and thumbs without their photos file do not exist for any reader.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from transforms import storage
from transforms.library_folder import LibraryFolder
from transforms.records import FaceRow, PhotoRow
from transforms.table_files import read_table as _read
from transforms.table_files import write_table
from transforms.tables import FACE_ID, ROW_KEYS, THUMBS_SCHEMA, faces_table, photos_table

_PHOTOS, _FACES, _THUMBS = "photos", "faces", "thumbs"
_SUFFIX = ".parquet"


class ChunkFiles(LibraryFolder):
    """The part of a `Library` that writes chunks, and reads one as it lies on disk."""

    def commit_chunk(
        self,
        name: str,
        *,
        fingerprint: str,
        photos: Sequence[PhotoRow],
        faces: Sequence[FaceRow],
        embeddings: np.ndarray,
        thumbs: Sequence[bytes],
    ) -> None:
        """Writes one chunk; it exists for readers once its photos file does, written last.

        `embeddings` is float32[n, d] for the n `faces`; `thumbs` n JPEG files, or none at all.
        """
        if faces:
            write_table(self._face_path(fingerprint, name), faces_table(faces, embeddings))
            if thumbs:
                table = pa.table([[f.face_id for f in faces], list(thumbs)], schema=THUMBS_SCHEMA)
                write_table(self._thumbs_path(name), table)
        write_table(self._photos_path(name), photos_table(photos))

    def replace_chunks(
        self, old: Sequence[str], new: str, tables: tuple[pa.Table, pa.Table | None, pa.Table | None]
    ) -> None:
        """Puts one chunk (photos, faces, thumbs) in the place of several, in an order in which a
        crash at any point leaves every row at least once."""
        photos, faces, thumbs = tables
        fingerprint = self.info().fingerprint
        if faces is not None and fingerprint is not None:
            write_table(self._face_path(fingerprint, new), faces)
        if thumbs is not None:
            write_table(self._thumbs_path(new), thumbs)
        write_table(self._photos_path(new), photos)
        for name in old:
            self.remove_chunk(name)

    def remove_chunk(self, name: str) -> None:
        """Removes a chunk from all three tables, its commit record first."""
        storage.remove(self._photos_path(name))
        for folder in self._face_folders():
            storage.remove(storage.join(folder, name + _SUFFIX))
        storage.remove(self._thumbs_path(name))

    def read_all_faces(self, name: str) -> dict[str, pa.Table]:
        """A chunk's faces in each fingerprint's folder that holds some."""
        found = {}
        for fingerprint in storage.folder_names(self.file(_FACES)):
            path = self._face_path(fingerprint, name)
            if storage.exists(path):
                found[fingerprint] = _read(path)
        return found

    def rewrite_chunk(
        self, old: str, new: str, *, photos: pa.Table, faces: dict[str, pa.Table], thumbs: pa.Table | None
    ) -> None:
        """Puts a changed chunk in the place of an old one; `faces` by fingerprint. A crash in between
        leaves both."""
        for fingerprint, table in faces.items():
            if len(table):
                write_table(self._face_path(fingerprint, new), table)
        if thumbs is not None and len(thumbs):
            write_table(self._thumbs_path(new), thumbs)
        write_table(self._photos_path(new), photos)
        self.remove_chunk(old)

    def chunk_names(self) -> list[str]:
        """Names of all committed chunks, sorted."""
        return [n[: -len(_SUFFIX)] for n in storage.file_names(self.file(_PHOTOS), suffix=_SUFFIX)]

    def chunks_with_faces(self) -> list[str]:
        """Names of the committed chunks that hold faces of the library's fingerprint, sorted."""
        fingerprint = self.info().fingerprint
        if fingerprint is None:
            return []
        present = set(storage.file_names(self.file(_FACES, fingerprint), suffix=_SUFFIX))
        return [name for name in self.chunk_names() if name + _SUFFIX in present]

    def chunk_bytes(self, name: str) -> int:
        """Bytes of the largest of a chunk's three files."""
        paths = [self._photos_path(name), self._thumbs_path(name)]
        paths += [storage.join(folder, name + _SUFFIX) for folder in self._face_folders()]
        return max((storage.size(p) for p in paths if storage.exists(p)), default=0)

    def uncommitted_files(self) -> list[str]:
        """Faces and thumbs without their photos file, and files that were never finished."""
        committed = {name + _SUFFIX for name in self.chunk_names()}
        return [
            storage.join(folder, name)
            for folder in [*self._face_folders(), self.file(_THUMBS)]
            for name in storage.file_names(folder, suffix=_SUFFIX)
            if name not in committed
        ]

    def read_chunk(self, name: str) -> tuple[pa.Table, pa.Table | None, pa.Table | None]:
        """One chunk as it lies on disk: photos, faces (None without any), thumbs (likewise)."""
        fingerprint = self.info().fingerprint
        faces = self._face_path(fingerprint, name) if fingerprint else None
        thumbs = self._thumbs_path(name)
        return (
            _read(self._photos_path(name)),
            _read(faces) if faces and storage.exists(faces) else None,
            _read(thumbs) if storage.exists(thumbs) else None,
        )

    def read_chunk_keys(self, name: str) -> pa.Table:
        """What decides which of a chunk's photo rows count: the columns `ROW_KEYS`."""
        return _read(self._photos_path(name), list(ROW_KEYS))

    def read_chunk_faces(self, name: str, columns: Sequence[str]) -> pa.Table | None:
        """Columns of one chunk's faces, None for a chunk without any."""
        path = self._face_path(self.info().fingerprint or "", name)
        return _read(path, list(columns)) if storage.exists(path) else None

    def face_ids(self, fingerprint: str, name: str) -> set[str]:
        """The faces of that kind that a chunk has."""
        path = self._face_path(fingerprint, name)
        return set(_read(path, [FACE_ID])[FACE_ID].to_pylist()) if storage.exists(path) else set()

    def write_chunk_faces(self, fingerprint: str, name: str, faces: pa.Table) -> None:
        """Writes a chunk's faces of another kind beside those that there are."""
        write_table(self._face_path(fingerprint, name), faces)

    def remove_other_faces(self, keep: Sequence[str]) -> None:
        """Removes the faces of all kinds but some. Only for the holder of the lease."""
        for name in storage.folder_names(self.file(_FACES)):
            if name not in keep:
                storage.remove_folder(self.file(_FACES, name))

    def read_table(self, path: str) -> pa.Table:
        """A Parquet file of the library. Raises LibraryError where it is damaged."""
        return _read(path)

    def write_table(self, path: str, table: pa.Table) -> None:
        """Writes a Parquet file of the library whole."""
        write_table(path, table)

    def _photos_path(self, name: str) -> str:
        return self.file(_PHOTOS, name + _SUFFIX)

    def _thumbs_path(self, name: str) -> str:
        return self.file(_THUMBS, name + _SUFFIX)

    def _face_path(self, fingerprint: str, name: str) -> str:
        return self.file(_FACES, fingerprint, name + _SUFFIX)

    def _face_folders(self) -> list[str]:
        return [self.file(_FACES, name) for name in storage.folder_names(self.file(_FACES))]
