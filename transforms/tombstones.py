"""What was forgotten and must not come back: ``tombstones.parquet``.

A tombstone holds no biometric data: a photo's content hash and place, and the box of a face (none: the
whole photo). Both are kept, since a program that edits a photo's metadata changes its hash, and one
that moves a photo its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

import numpy as np
import pyarrow as pa

from transforms import storage
from transforms.library import Library
from transforms.records import FileEntry
from transforms.tables import FORGOTTEN_AT, PATH_BYTES, PHOTO_ID, ROOT, TOMBSTONES_SCHEMA, X0, X1, Y0, Y1
from transforms.xmp_regions import overlap

TOMBSTONES = "tombstones.parquet"
FORGOTTEN = "forgotten: faces in it are not looked for"
EVERYTHING = "*"
_SAME_FACE = 0.5


@dataclass(frozen=True)
class Tombstone:
    """A face, or without `box` a photo, that was forgotten; `photo_id` `EVERYTHING`: the library."""

    photo_id: str
    root: str
    path: bytes
    box: tuple[float, float, float, float] | None


class Tombstones:
    """Answers whether a photo or a face was forgotten."""

    def __init__(self, stones: Sequence[Tombstone] = ()) -> None:
        self._by_content: dict[str, list[Tombstone]] = {}
        self._by_place: dict[tuple[str, bytes], list[Tombstone]] = {}
        for stone in stones:
            self._by_content.setdefault(stone.photo_id, []).append(stone)
            self._by_place.setdefault((stone.root, stone.path), []).append(stone)

    @classmethod
    def of(cls, library: Library) -> Tombstones:
        """The tombstones of a library."""
        return cls(read_tombstones(library))

    @property
    def everything(self) -> bool:
        """Whether all of the library was forgotten."""
        return EVERYTHING in self._by_content

    def photo(self, photo_id: str, file: FileEntry) -> bool:
        """Whether the whole photo was forgotten."""
        return any(stone.box is None for stone in self._of(photo_id, file))

    def faces(self, photo_id: str, file: FileEntry, boxes: np.ndarray) -> np.ndarray:
        """bool[n]: which of the boxes float32[n, 4] are faces that were forgotten."""
        stones = [stone.box for stone in self._of(photo_id, file) if stone.box is not None]
        return np.array(
            [any(overlap(stone, tuple(box)) >= _SAME_FACE for stone in stones) for box in boxes.tolist()],
            bool,
        )

    def _of(self, photo_id: str, file: FileEntry) -> list[Tombstone]:
        return [*self._by_content.get(photo_id, ()), *self._by_place.get((file.root, file.path), ())]


def read_tombstones(library: Library) -> list[Tombstone]:
    """All tombstones. Raises LibraryError where their file is damaged: then nothing may be indexed."""
    path = library.file(TOMBSTONES)
    if not storage.exists(path):
        return []
    table = library.read_table(path)
    columns = (table[c].to_pylist() for c in (PHOTO_ID, ROOT, PATH_BYTES, X0, Y0, X1, Y1))
    return [
        Tombstone(photo, root, path, (x0, y0, x1, y1) if x0 is not None else None)
        for photo, root, path, x0, y0, x1, y1 in zip(*columns, strict=True)
    ]


def add_tombstones(library: Library, stones: Sequence[Tombstone]) -> None:
    """Adds tombstones, each once."""
    known = read_tombstones(library)
    new = [stone for stone in dict.fromkeys(stones) if stone not in set(known)]
    if not new:
        return
    path = library.file(TOMBSTONES)
    old = library.read_table(path) if storage.exists(path) else TOMBSTONES_SCHEMA.empty_table()
    now = datetime.now(timezone.utc)
    rows = [
        {PHOTO_ID: s.photo_id, ROOT: s.root, PATH_BYTES: s.path, FORGOTTEN_AT: now}
        | dict(zip((X0, Y0, X1, Y1), s.box or (None,) * 4, strict=True))
        for s in new
    ]
    library.write_table(path, pa.concat_tables([old, pa.Table.from_pylist(rows, TOMBSTONES_SCHEMA)]))
