"""The listing of a run cut into chunks: written once, read by the workers one chunk at a time.

::

    <folder>/<run>/part-00000.parquet       columns root, path_bytes, size, mtime
                   part-00001.parquet       one row group per chunk

Only `Chunk`, a name of some hundred bytes, travels through the Beam graph; the paths stay here. Path
bytes are exact, also where they are not UTF-8.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

import pyarrow as pa
import pyarrow.parquet as pq

from transforms import storage
from transforms.library import LibraryError
from transforms.records import FileEntry
from transforms.table_files import arrow_file
from transforms.tables import MTIME, PATH_BYTES, PHOTOS_SCHEMA, ROOT, SIZE

MANIFEST_SCHEMA = pa.schema([PHOTOS_SCHEMA.field(name) for name in (ROOT, PATH_BYTES, SIZE, MTIME)])


class ManifestError(LibraryError):
    """A chunk of a manifest can't be read; the message names the file and the remedy."""


@dataclass(frozen=True)
class Chunk:
    """One unit of work: rows `start` to `stop` (exclusive) of row group `group` of a manifest's part.

    `crashes` counts the processes that died while working on exactly this chunk. A `piece` is a part of
    what was one chunk when listed.
    """

    run: str
    part: str
    group: int
    start: int
    stop: int
    crashes: int = 0
    piece: bool = False

    @property
    def name(self) -> str:
        """Unique among all chunks and pieces of all runs, e.g. ``20261122T021700Z-3f2a-00012-00005``,
        of a piece ``20261122T021700Z-3f2a-00012-00005-0000-0064``."""
        whole = f"{self.run}-{self.part}-{self.group:05d}"
        return f"{whole}-{self.start:04d}-{self.stop:04d}" if self.piece else whole

    @property
    def size(self) -> int:
        """How many files the chunk holds."""
        return self.stop - self.start

    def halves(self) -> tuple[Chunk, Chunk]:
        """Two pieces that hold each file once, neither of which has crashed yet.

        Raises ValueError for a chunk of a single file.
        """
        if self.size < 2:
            raise ValueError(f"chunk {self.name} holds {self.size} file(s) and can't be halved")
        middle = (self.start + self.stop) // 2
        whole = replace(self, crashes=0, piece=True)
        return replace(whole, stop=middle), replace(whole, start=middle)

    def to_json(self) -> str:
        """The chunk as text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Chunk:
        """A chunk from `to_json`'s text. Raises ValueError where it is none."""
        try:
            return cls(**json.loads(text))
        except TypeError as error:
            raise ValueError(f"{text!r} does not describe a chunk: {error}") from error


class ManifestWriter:
    """Cuts entries into chunks in the order in which they are added, and writes them part by part.

    Holds at most ``chunk_size * groups_per_part`` entries in memory. `folder` is a local folder or a
    URL; `run` must be new in it.
    """

    def __init__(self, folder: str, run: str, *, chunk_size: int = 256, groups_per_part: int = 256) -> None:
        if chunk_size < 1 or groups_per_part < 1:
            raise ValueError("chunk_size and groups_per_part must be at least 1")
        self._folder, self._run = folder, run
        self._chunk_size, self._part_size = chunk_size, chunk_size * groups_per_part
        self._parts = 0
        self._pending: list[FileEntry] = []
        self._chunks: list[Chunk] = []

    def add(self, entry: FileEntry) -> None:
        """Adds one file. Raises OSError where a full part can't be written."""
        self._pending.append(entry)
        if len(self._pending) == self._part_size:
            self._write_part()

    def close(self) -> list[Chunk]:
        """Writes what is left; returns all chunks, every added file in exactly one of them, in order."""
        if self._pending:
            self._write_part()
        return list(self._chunks)

    def _write_part(self) -> None:
        part, entries = f"{self._parts:05d}", self._pending
        sink = pa.BufferOutputStream()
        pq.write_table(
            _table(entries),
            sink,
            row_group_size=self._chunk_size,
            compression="zstd",
            use_dictionary=[ROOT],
            write_statistics=False,
        )
        storage.write_bytes(_part_path(self._folder, self._run, part), memoryview(sink.getvalue()))
        for group, first in enumerate(range(0, len(entries), self._chunk_size)):
            size = min(self._chunk_size, len(entries) - first)
            self._chunks.append(Chunk(self._run, part, group, 0, size))
        self._parts += 1
        self._pending = []


def read_chunk(folder: str, chunk: Chunk) -> list[FileEntry]:
    """The files of a chunk, in order; of a local part only the chunk's row group is read.

    Raises ManifestError where the part is missing or damaged, has no such rows, or its drive fails.
    """
    path = _part_path(folder, chunk.run, chunk.part)
    try:
        with arrow_file(path) as file:
            part = pq.ParquetFile(file)
            if chunk.group >= part.num_row_groups:
                raise ManifestError(_lacks(path, chunk))
            table = part.read_row_group(chunk.group, columns=MANIFEST_SCHEMA.names)
    except (OSError, pa.ArrowInvalid) as error:
        raise ManifestError(
            f"{path}, the list of the files to work on, can't be read ({error}): "
            "start again, which lists the archive anew"
        ) from error
    if chunk.stop > len(table):
        raise ManifestError(_lacks(path, chunk))
    return _entries(table.slice(chunk.start, chunk.size))


def _table(entries: list[FileEntry]) -> pa.Table:
    columns = (
        [e.root for e in entries],
        [e.path for e in entries],
        [e.size for e in entries],
        [e.mtime_us for e in entries],
    )
    arrays = [pa.array(c, type=f.type) for c, f in zip(columns, MANIFEST_SCHEMA, strict=True)]
    return pa.table(arrays, schema=MANIFEST_SCHEMA)


def _entries(table: pa.Table) -> list[FileEntry]:
    # As whole numbers: through datetime, times outside its years would fail.
    mtimes = table[MTIME].cast(pa.int64())
    columns = (table[ROOT], table[PATH_BYTES], table[SIZE], mtimes)
    return [FileEntry(*row) for row in zip(*(c.to_pylist() for c in columns), strict=True)]


def _part_path(folder: str, run: str, part: str) -> str:
    return storage.join(folder, run, f"part-{part}.parquet")


def _lacks(path: str, chunk: Chunk) -> str:
    return f"{path} does not hold chunk {chunk.name}: start again, which lists the archive anew"
