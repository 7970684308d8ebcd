"""Brings thumbnails from the order in which they were indexed into the order of the pages.

A library's thumbnails lie chunk by chunk and are far more than memory holds; a page needs those of
one person. This is an external bucket sort: one pass over the chunks appends every thumbnail to
the file of its bucket of pages, then one bucket after the other is read and handed out by page.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.tables import FACE_ID, JPEG

BUCKET_FACES = 32_768
"""Thumbnails in memory at once: 128 MB at the usual 4 KB each."""

MAX_BUCKETS = 256
"""Files open at once; systems allow 256 (macOS) to 1,024. Beyond 8 million faces buckets grow."""

MAX_THUMB_BYTES = 256 * 1024
"""A thumbnail of 112 px has some 4 KB; what is much larger is none."""

_PAGE, _FACE = "page", "face"
_SPILL_SCHEMA = pa.schema([(_PAGE, pa.int64()), (_FACE, pa.int64()), (JPEG, pa.large_binary())])


@dataclass(frozen=True)
class Placements:
    """Which face is on which page: int64[k] each, every pair once, in any order.

    Faces are positions in a library's list of faces, pages are numbered from 0.
    """

    face: np.ndarray
    page: np.ndarray


class ThumbSort:
    """Sorts the thumbnails of `face_ids` by the pages they are placed on, within `folder`.

    The folder must exist, hold nothing else and have room for all thumbnails.
    """

    def __init__(self, folder: str, face_ids: pa.Array, placements: Placements, *, pages: int) -> None:
        self._folder = folder
        self._face_ids = face_ids
        order = np.argsort(placements.face, kind="stable")
        self._pages_of = placements.page[order]
        self._starts = np.searchsorted(placements.face[order], np.arange(len(face_ids) + 1))
        self._seen = np.zeros(len(face_ids), bool)
        self._bucket_of = bucket_pages(np.bincount(placements.page, minlength=pages))
        self.buckets = int(self._bucket_of[-1]) + 1 if pages else 0

    @property
    def faces(self) -> int:
        """All faces."""
        return len(self._face_ids)

    @property
    def found(self) -> int:
        """Faces for which a thumbnail was read so far."""
        return int(self._seen.sum())

    def read(self, thumbs: Iterable[pa.Table]) -> Iterator[int]:
        """Distributes all thumbnails (tables of face_id and jpeg), and says after each step how
        many faces have one. Of several for one face the first counts.

        Raises OSError where the folder can't take them.
        """
        with ExitStack() as stack:
            files = [stack.enter_context(pa.OSFile(self._path(b), "wb")) for b in range(self.buckets)]
            writers = [stack.enter_context(pa.ipc.new_stream(file, _SPILL_SCHEMA)) for file in files]
            for table in _regrouped(thumbs):
                self._distribute(table, writers)
                yield self.found

    def _distribute(self, table: pa.Table, writers: list[pa.RecordBatchWriter]) -> None:
        # Asking where each of the many faces is among the few thumbnails, rather than the other
        # way round, builds a small hash table instead of a large one, and finds the first of a
        # kind.
        ids = table[FACE_ID].cast(self._face_ids.type).combine_chunks()
        rows = pc.index_in(self._face_ids, value_set=ids, skip_nulls=True)
        rows = pc.fill_null(rows, -1).to_numpy(zero_copy_only=False)
        faces = np.flatnonzero((rows >= 0) & ~self._seen)
        self._seen[faces] = True

        first, count = self._starts[faces], np.diff(self._starts)[faces]
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        pages = self._pages_of[np.repeat(first, count) + within]
        faces = np.repeat(faces, count)
        buckets = self._bucket_of[pages]
        order = np.argsort(buckets, kind="stable")
        bounds = np.searchsorted(buckets[order], np.arange(self.buckets + 1))
        jpeg = table[JPEG].cast(pa.large_binary()).combine_chunks()
        for bucket in np.unique(buckets):
            part = order[bounds[bucket] : bounds[bucket + 1]]
            columns = [pa.array(pages[part]), pa.array(faces[part]), jpeg.take(pa.array(rows[faces[part]]))]
            writers[bucket].write_batch(pa.record_batch(columns, schema=_SPILL_SCHEMA))

    def pages(self) -> Iterator[tuple[int, dict[int, bytes]]]:
        """Every page in order, with the thumbnails that were found for it by face."""
        for bucket in range(self.buckets):
            numbers = np.flatnonzero(self._bucket_of == bucket)
            with pa.OSFile(self._path(bucket), "rb") as file:
                table = pa.ipc.open_stream(file).read_all().combine_chunks()
            os.unlink(self._path(bucket))
            page, face = table[_PAGE].to_numpy(), table[_FACE].to_numpy()
            order = np.argsort(page, kind="stable")
            bounds = np.searchsorted(page[order], np.append(numbers, numbers[-1] + 1))
            for i, number in enumerate(numbers):
                part = order[bounds[i] : bounds[i + 1]]
                jpegs = table[JPEG].take(pa.array(part)).to_pylist()
                yield int(number), dict(zip(face[part].tolist(), jpegs, strict=True))

    def _path(self, bucket: int) -> str:
        return os.path.join(self._folder, f"bucket-{bucket}.arrows")


def bucket_pages(faces: np.ndarray) -> np.ndarray:
    """The bucket of each page, given how many `faces` each page shows: int64[pages], ascending,
    no number left out, at most `MAX_BUCKETS`."""
    size = max(BUCKET_FACES, -(-int(faces.sum()) // (MAX_BUCKETS - 1)))
    filled = np.cumsum(faces) - faces
    return np.unique(filled // size, return_inverse=True)[1].reshape(-1)


def _regrouped(thumbs: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in tables of about `BUCKET_FACES`, whether the files are large or small."""
    waiting: list[pa.Table] = []
    for table in thumbs:
        table = table.select([FACE_ID, JPEG])
        sizes = pc.fill_null(pc.binary_length(table[JPEG]), MAX_THUMB_BYTES + 1)
        table = table.filter(pc.less_equal(sizes, MAX_THUMB_BYTES))
        for start in range(0, len(table), BUCKET_FACES):
            waiting.append(table.slice(start, BUCKET_FACES))
            if sum(map(len, waiting)) >= BUCKET_FACES:
                yield pa.concat_tables(waiting)
                waiting = []
    if waiting:
        yield pa.concat_tables(waiting)
