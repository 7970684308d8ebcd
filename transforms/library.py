"""The library on disk: its folders, its tables, and all reading and writing of them.

Nothing else in the project spells the name of a folder of the library; its columns are spelled in
`transforms.tables` alone.

Three tables grow while indexing, one file per chunk in each, all three under the same name::

    faces/<fingerprint>/<chunk>.parquet     written first
    thumbs/<chunk>.parquet                  written second
    photos/<chunk>.parquet                  written last: the commit record

Faces and thumbs without their photos file do not exist for any reader. Chunk files are never
changed, so work that is done twice leaves two files; readers take the newest row of a path and the
first file that holds a photo's faces, and `transforms.compaction` removes the rest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms import storage
from transforms.decision_files import ANCHORS, CORRECTIONS, GONE, DecisionFiles
from transforms.records import OK, FaceRow, PhotoRow
from transforms.table_files import LibraryError, iter_table, write_table
from transforms.table_files import read_table as _read
from transforms.tables import (
    ASSIGNMENTS_SCHEMA,
    FACE_ID,
    GONE_SCHEMA,
    IGNORED,
    PATH_BYTES,
    PEOPLE_SCHEMA,
    PHOTO_ID,
    PHOTOS_SCHEMA,
    REASON,
    ROOT,
    ROW_KEYS,
    STATUS,
    TAKEN_AT,
    THUMBS_SCHEMA,
    digest,
    faces_schema,
    faces_table,
    newest_rows,
    photos_table,
)

__all__ = ["CORRECTIONS", "Library", "LibraryError", "LibraryInfo"]

FORMAT_VERSION = 1

MANIFESTS, LOGS, REPORT = "manifests", "logs", "report"
_INFO, _PHOTOS, _FACES, _THUMBS, _PEOPLE, _CURRENT = (
    "library.json", "photos", "faces", "thumbs", "people", "CURRENT",
)  # fmt: skip
_SUFFIX = ".parquet"


@dataclass(frozen=True)
class LibraryInfo:
    """What ``library.json`` says: the archives by name, and how the vectors were made."""

    roots: dict[str, str]
    fingerprint: str | None = None
    settings: dict[str, object] | None = None


class Library(DecisionFiles):
    """One library folder. Cheap to make; reads and writes only when asked to."""

    def __init__(self, path: str) -> None:
        self.path = storage.absolute(path)

    # -- library.json ------------------------------------------------------------------------

    @classmethod
    def create(cls, path: str) -> Library:
        """Opens the library at `path`, or begins one in a new or empty folder.

        Raises LibraryError where the folder holds other things.
        """
        library = cls(path)
        if storage.exists(library.file(_INFO)):
            library.info()
            return library
        try:
            foreign = [n for n in storage.file_names(path) if not n.startswith(".") and n != "lease.json"]
            foreign += [n for n in storage.folder_names(path) if n not in (MANIFESTS, LOGS)]
        except NotADirectoryError as error:
            raise LibraryError(f"{path} is not a folder: give a new or empty one for the library") from error
        if foreign:
            raise LibraryError(
                f"{path} is not an Albumen library (no {_INFO}) and is not empty (it holds "
                f"{foreign[0]!r}): give a new or empty folder for the library"
            )
        library.save_info(LibraryInfo(roots={}))
        return library

    @classmethod
    def open(cls, path: str) -> Library:
        """Opens an existing library. Raises LibraryError where there is none."""
        library = cls(path)
        if not storage.exists(library.file(_INFO)):
            raise LibraryError(
                f"{path} is not an Albumen library (no {_INFO}): index photographs first, "
                f"albumen index ARCHIVE {path}"
            )
        library.info()
        return library

    def info(self) -> LibraryInfo:
        """Reads ``library.json``. Raises LibraryError where it is damaged or from a newer version."""
        path = self.file(_INFO)
        try:
            data = json.loads(storage.read_bytes(path))
            version = data["format"]
            if version != FORMAT_VERSION:
                raise LibraryError(
                    f"{path} has format {version!r}; this version of Albumen reads format {FORMAT_VERSION}: "
                    "use the version that wrote it, or begin a new library"
                )
            roots = {str(k): str(v) for k, v in data["roots"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise LibraryError(f"{path} is damaged ({error}): restore it from a backup") from error
        return LibraryInfo(roots, data.get("fingerprint"), data.get("settings"))

    def save_info(self, info: LibraryInfo) -> None:
        """Writes ``library.json`` whole."""
        data = {
            "format": FORMAT_VERSION,
            "roots": info.roots,
            "fingerprint": info.fingerprint,
            "settings": info.settings,
        }
        # Bytes of a root that are not UTF-8 are surrogates in text: escaped, they survive JSON.
        storage.write_bytes(self.file(_INFO), json.dumps(data, indent=2).encode("ascii"))

    def use_fingerprint(self, fingerprint: str, settings: dict[str, object]) -> None:
        """Declares how vectors are about to be made; the first to do so decides for the library.

        Raises LibraryError where the library holds vectors made in another way.
        """
        info = self.info()
        if info.fingerprint is None:
            self.save_info(replace(info, fingerprint=fingerprint, settings=settings))
        elif info.fingerprint != fingerprint:
            raise LibraryError(
                f"{self.path} was indexed as {info.fingerprint}, but the options given mean {fingerprint}. "
                "Vectors of two kinds can't be compared: give the options it was indexed with "
                f"({json.dumps(info.settings)}), or index into a new library"
            )

    def file(self, *parts: str) -> str:
        """The path of something inside the library."""
        return storage.join(self.path, *parts)

    # -- chunks ------------------------------------------------------------------------------

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
            self._write(self._face_path(fingerprint, name), faces_table(faces, embeddings))
            if thumbs:
                table = pa.table([[f.face_id for f in faces], list(thumbs)], schema=THUMBS_SCHEMA)
                self._write(self.file(_THUMBS, name + _SUFFIX), table)
        self._write(self.file(_PHOTOS, name + _SUFFIX), photos_table(photos))

    def replace_chunks(
        self, old: Sequence[str], new: str, tables: tuple[pa.Table, pa.Table | None, pa.Table | None]
    ) -> None:
        """Puts one chunk (photos, faces, thumbs) in the place of several, in an order in which a
        crash at any point leaves every row at least once."""
        photos, faces, thumbs = tables
        fingerprint = self.info().fingerprint
        if faces is not None and fingerprint is not None:
            self._write(self._face_path(fingerprint, new), faces)
        if thumbs is not None:
            self._write(self.file(_THUMBS, new + _SUFFIX), thumbs)
        self._write(self.file(_PHOTOS, new + _SUFFIX), photos)
        for name in old:
            self.remove_chunk(name)

    def remove_chunk(self, name: str) -> None:
        """Removes a chunk from all three tables, its commit record first."""
        storage.remove(self.file(_PHOTOS, name + _SUFFIX))
        for folder in self._face_folders():
            storage.remove(storage.join(folder, name + _SUFFIX))
        storage.remove(self.file(_THUMBS, name + _SUFFIX))

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
                self._write(self._face_path(fingerprint, new), table)
        if thumbs is not None and len(thumbs):
            self._write(self.file(_THUMBS, new + _SUFFIX), thumbs)
        self._write(self.file(_PHOTOS, new + _SUFFIX), photos)
        self.remove_chunk(old)

    def chunk_names(self) -> list[str]:
        """Names of all committed chunks, sorted."""
        return [n[: -len(_SUFFIX)] for n in storage.file_names(self.file(_PHOTOS), suffix=_SUFFIX)]

    def chunk_bytes(self, name: str) -> int:
        """Bytes of the largest of a chunk's three files."""
        paths = [self.file(_PHOTOS, name + _SUFFIX), self.file(_THUMBS, name + _SUFFIX)]
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

    def remove_partial_files(self) -> None:
        """Removes what interrupted writes left behind. Only for the holder of the lease."""
        for folder in self._table_folders():
            storage.remove_partial_files(folder)

    def partial_files(self) -> list[str]:
        """Paths of what interrupted writes have left behind (or running ones are at)."""
        return [path for folder in self._table_folders() for path in storage.partial_files(folder)]

    def _table_folders(self) -> list[str]:
        return [self.path, self.file(_PHOTOS), self.file(_THUMBS), *self._face_folders()]

    def _face_path(self, fingerprint: str, name: str) -> str:
        return self.file(_FACES, fingerprint, name + _SUFFIX)

    def _face_folders(self) -> list[str]:
        return [self.file(_FACES, name) for name in storage.folder_names(self.file(_FACES))]

    def _write(self, path: str, table: pa.Table) -> None:
        write_table(path, table)

    # -- reading -----------------------------------------------------------------------------

    def read_chunk(self, name: str) -> tuple[pa.Table, pa.Table | None, pa.Table | None]:
        """One chunk as it lies on disk: photos, faces (None without any), thumbs (likewise)."""
        fingerprint = self.info().fingerprint
        faces = self._face_path(fingerprint, name) if fingerprint else None
        thumbs = self.file(_THUMBS, name + _SUFFIX)
        return (
            _read(self.file(_PHOTOS, name + _SUFFIX)),
            _read(faces) if faces and storage.exists(faces) else None,
            _read(thumbs) if storage.exists(thumbs) else None,
        )

    def read_chunk_keys(self, name: str) -> pa.Table:
        """What decides which of a chunk's photo rows count: the columns `ROW_KEYS`."""
        return _read(self.file(_PHOTOS, name + _SUFFIX), list(ROW_KEYS))

    def read_photos(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The present state of every photo: the newest row of each path, in order of root and path."""
        wanted = list(columns) if columns else PHOTOS_SCHEMA.names
        needed = list(dict.fromkeys([*wanted, *ROW_KEYS]))
        tables = [_read(self.file(_PHOTOS, n + _SUFFIX), needed) for n in self.chunk_names()]
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
        needed = list(dict.fromkeys([*columns, FACE_ID]))
        parts = []
        for name, keep in self.face_rows():
            table = self._read_face_columns(name, needed)
            parts.append(table if keep is None else table.filter(pa.array(keep)))
        if not parts:
            return faces_schema(1).empty_table().select(list(columns))
        table = pa.concat_tables(parts)
        return table.take(pc.sort_indices(table[FACE_ID])).select(list(columns))

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
        fingerprint = self.info().fingerprint
        if fingerprint is None:
            return
        present = set(storage.file_names(self.file(_FACES, fingerprint), suffix=_SUFFIX))
        names = [n for n in self.chunk_names() if n + _SUFFIX in present]
        photos = self.read_photos([PHOTO_ID, STATUS])
        active = photos.filter(pc.equal(photos[STATUS], OK))[PHOTO_ID].combine_chunks()
        ids = [self._read_face_columns(n, [PHOTO_ID])[PHOTO_ID].combine_chunks() for n in names]
        if not ids:
            return
        # One number for each photo in all chunks: then a mask for each chunk is arithmetic.
        coded = pa.chunked_array(ids).dictionary_encode().unify_dictionaries()
        codes = [part.indices.to_numpy() for part in coded.chunks]
        photo_ids = coded.chunk(0).dictionary
        owner = np.full(len(photo_ids), len(ids))
        for number in reversed(range(len(ids))):
            owner[codes[number]] = number
        active_codes = pc.is_in(photo_ids, value_set=active).to_numpy(zero_copy_only=False)
        for number, name in enumerate(names):
            keep = active_codes[codes[number]] & (owner[codes[number]] == number)
            yield name, None if keep.all() else keep

    def _read_face_columns(self, name: str, columns: Sequence[str]) -> pa.Table:
        fingerprint = self.info().fingerprint
        assert fingerprint is not None
        return _read(self._face_path(fingerprint, name), list(columns))

    def iter_thumbs(self) -> Iterator[pa.Table]:
        """All thumbnails, file by file, as tables of face_id and jpeg; a face may come twice."""
        committed = {name + _SUFFIX for name in self.chunk_names()}
        for name in storage.file_names(self.file(_THUMBS), suffix=_SUFFIX):
            if name in committed:
                yield _read(self.file(_THUMBS, name))

    def iter_photos(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Rows of photos chunk by chunk as they lie on disk: those superseded are among them."""
        for name in self.chunk_names():
            yield _read(self.file(_PHOTOS, name + _SUFFIX), list(columns))

    def iter_stored_faces(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Rows of faces chunk by chunk as they lie on disk: doubled ones are among them, in a later
        chunk than those that count, and faces of photos that are no longer part of the library."""
        fingerprint = self.info().fingerprint
        if fingerprint is not None:
            present = set(storage.file_names(self.file(_FACES, fingerprint), suffix=_SUFFIX))
            for name in self.chunk_names():
                if name + _SUFFIX in present:
                    yield self._read_face_columns(name, list(columns))

    def read_photo_history(self, columns: Sequence[str]) -> pa.Table:
        """Every row of the photos table, superseded ones too until the library is tidied."""
        tables = [_read(self.file(_PHOTOS, n + _SUFFIX), list(columns)) for n in self.chunk_names()]
        return pa.concat_tables(tables) if tables else PHOTOS_SCHEMA.empty_table().select(list(columns))

    def read_faces_of(self, photo_ids: Sequence[str], columns: Sequence[str]) -> pa.Table:
        """The faces of some photos, whether or not these are part of the library now."""
        parts, wanted = [], pa.array(photo_ids, pa.string())
        folder = self.file(_FACES, self.info().fingerprint or "")
        for name in storage.file_names(folder, suffix=_SUFFIX):
            path = storage.join(folder, name)
            inside = pc.is_in(_read(path, [PHOTO_ID])[PHOTO_ID], value_set=wanted)
            if pc.any(inside).as_py():
                parts.append(_read(path, list(columns)).filter(inside))
        return pa.concat_tables(parts) if parts else faces_schema(1).empty_table().select(list(columns))

    def read_chunk_faces(self, name: str, columns: Sequence[str]) -> pa.Table | None:
        """Columns of one chunk's faces, None for a chunk without any."""
        path = self._face_path(self.info().fingerprint or "", name)
        return _read(path, list(columns)) if storage.exists(path) else None

    def faces_exist(self, fingerprint: str, name: str) -> bool:
        """Whether a chunk has faces of that kind."""
        return storage.exists(self._face_path(fingerprint, name))

    def write_chunk_faces(self, fingerprint: str, name: str, faces: pa.Table) -> None:
        """Writes a chunk's faces of another kind beside those that there are."""
        self._write(self._face_path(fingerprint, name), faces)

    def remove_other_faces(self, keep: Sequence[str]) -> None:
        """Removes the faces of all kinds but some. Only for the holder of the lease."""
        for name in storage.folder_names(self.file(_FACES)):
            if name not in keep:
                storage.remove_folder(self.file(_FACES, name))

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

    # -- revisions ---------------------------------------------------------------------------

    def current_revision(self) -> str | None:
        """The newest complete grouping, or None."""
        path = self.file(_PEOPLE, _CURRENT)
        return storage.read_bytes(path).decode().strip() if storage.exists(path) else None

    def next_revision(self) -> str:
        """A name for the next grouping, later in order than all there are."""
        taken = [int(n[1:]) for n in storage.folder_names(self.file(_PEOPLE)) if n[1:].isdigit()]
        return f"r{max(taken, default=0) + 1:06d}"

    def write_revision(
        self, revision: str, *, assignments: pa.Table, people: pa.Table, grouping: dict[str, object],
        gone: pa.Table | None = None, anchors: Mapping[str, str] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        """Writes one complete grouping and makes it the current one, in that order.

        `gone`: people of revisions before; `anchors`: faces that corrections speak of, by correction.
        """
        folder = self.file(_PEOPLE, revision)
        if gone is not None:
            self._write(storage.join(folder, GONE), gone.cast(GONE_SCHEMA))
        storage.write_bytes(storage.join(folder, ANCHORS), json.dumps(dict(anchors), indent=1).encode())
        self._write(storage.join(folder, "assignments" + _SUFFIX), assignments.cast(ASSIGNMENTS_SCHEMA))
        self._write(storage.join(folder, "people" + _SUFFIX), people.cast(PEOPLE_SCHEMA))
        text = json.dumps(grouping, indent=2).encode()
        storage.write_bytes(storage.join(folder, "grouping.json"), text)
        self.use_revision(revision)

    def read_assignments(self, revision: str) -> pa.Table:
        """The assignments of a revision, in order of face_id."""
        return _read(self.file(_PEOPLE, revision, "assignments" + _SUFFIX))

    def read_people(self, revision: str) -> pa.Table:
        """The people of a revision, largest first."""
        people = _read(self.file(_PEOPLE, revision, "people" + _SUFFIX))
        if IGNORED not in people.column_names:  # of a version that knew no corrections
            people = people.append_column(IGNORED, pa.array([False] * len(people), pa.bool_()))
        return people

    def revisions(self) -> list[str]:
        """Names of all revisions, complete or not, oldest first."""
        return storage.folder_names(self.file(_PEOPLE))

    def revision_files(self, revision: str) -> list[str]:
        """Paths of a revision's files."""
        folder = self.file(_PEOPLE, revision)
        return [storage.join(folder, name) for name in storage.file_names(folder)]

    def use_revision(self, revision: str) -> None:
        """Makes a revision the current one."""
        storage.write_bytes(self.file(_PEOPLE, _CURRENT), revision.encode() + b"\n")

    def read_table(self, path: str) -> pa.Table:
        """A Parquet file of the library. Raises LibraryError where it is damaged."""
        return _read(path)

    def write_table(self, path: str, table: pa.Table) -> None:
        """Writes a Parquet file of the library whole."""
        self._write(path, table)

    def read_grouping(self, revision: str) -> dict[str, object]:
        """How a revision was made."""
        return json.loads(storage.read_bytes(self.file(_PEOPLE, revision, "grouping.json")))
