"""Faces embedded anew from the boxes and landmarks that a library holds, without looking for them again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from models.embedder import Embedder, EmbedderSpec
from transforms import storage
from transforms.align import sharpness, side_for_crops, warp
from transforms.archive import read_file
from transforms.decode import NotAPhoto, UnreadablePhoto, read_info, read_photo
from transforms.known_content import content_id
from transforms.tables import (
    BOX,
    EMBEDDING,
    LANDMARKS,
    PATH_BYTES,
    PHOTO_ID,
    ROOT,
    SHARPNESS,
    faces_schema,
    fixed_lists,
    matrix,
)
from transforms.whole_vectors import broken

_BATCH = 256
_MAX_PIXELS = 2_000_000_000  # what was decoded once may be decoded again

_Cut = tuple[str, list[np.ndarray] | None]


@dataclass(frozen=True)
class Original:
    """Where a photo's content lay when it was indexed: archives' locations and paths (exact bytes)."""

    places: Sequence[tuple[str, bytes]]

    def is_there(self) -> bool:
        """Whether there is a file at one of the places, whatever its content."""
        return any(storage.exists(storage.join(root, os.fsdecode(path))) for root, path in self.places)

    def read(self, photo_id: str) -> tuple[bytes, bytes] | None:
        """(content, path) from the first place that still holds it, None where none does."""
        for location, path in self.places:
            try:
                data = read_file(location, path)
            except OSError:
                continue
            if content_id(data) == photo_id:
                return data, path
        return None


@dataclass(frozen=True)
class Reembedded:
    """A chunk's faces with vectors of another kind, and the photos whose originals were not there."""

    faces: pa.Table | None
    missing: list[str]


def reembed(
    faces: pa.Table, originals: Mapping[str, Original], embedder: Embedder, spec: EmbedderSpec,
    *, working_side: int, threads: int = 2,
) -> Reembedded:  # fmt: skip
    """Cuts the faces of a chunk out of their photos again and embeds them.

    `faces` has all columns of a chunk but the embedding. What depends on the crop, sharpness, is
    measured again too, so that the result is what indexing with this embedder would give.
    """
    photos = faces[PHOTO_ID].to_pylist()
    boxes, points = matrix(faces[BOX]), matrix(faces[LANDMARKS]).reshape(-1, 5, 2)
    rows_of: dict[str, list[int]] = {}
    for row, photo in enumerate(photos):
        rows_of.setdefault(photo, []).append(row)

    def cut(photo: str) -> _Cut:
        rows = rows_of[photo]
        found = originals[photo].read(photo) if photo in originals else None
        if found is None:
            return photo, None
        try:
            return photo, crops(*found, boxes[rows], points[rows], spec, working_side=working_side)
        except (NotAPhoto, UnreadablePhoto):
            return photo, None

    kept: list[int] = []
    missing: list[str] = []
    sharp: list[float] = []
    vectors: list[np.ndarray] = []
    waiting: list[np.ndarray] = []
    for photo, found in _ahead(cut, list(rows_of), threads):
        if found is None:
            missing.append(photo)
            continue
        kept += rows_of[photo]
        waiting += found
        sharp += [sharpness(c) for c in found]
        while len(waiting) >= _BATCH:
            vectors.append(embedder.embed(np.stack(waiting[:_BATCH])))
            waiting = waiting[_BATCH:]
    if waiting:
        vectors.append(embedder.embed(np.stack(waiting)))
    if not kept:
        return Reembedded(None, missing)
    found_vectors = np.concatenate(vectors)
    if len(broken(found_vectors)):
        raise FloatingPointError("the embedder gave zeros or values that are no numbers")
    table = faces.take(pa.array(kept))
    table = table.set_column(
        table.schema.get_field_index(SHARPNESS), SHARPNESS, pa.array(np.array(sharp, np.float32))
    )
    table = table.append_column(EMBEDDING, fixed_lists(found_vectors))
    schema = faces_schema(found_vectors.shape[1])
    return Reembedded(table.select(schema.names).cast(schema), missing)


def crops(
    data: bytes, path: bytes, boxes: np.ndarray, points: np.ndarray, spec: EmbedderSpec, *, working_side: int
) -> list[np.ndarray]:
    """uint8[size, size, 3] for each face, from a photo decoded as large as the smallest one needs.

    `boxes` float32[n, 4] and `points` float32[n, 5, 2] in upright full-size pixels.
    Raises NotAPhoto, UnreadablePhoto.
    """
    info = read_info(data, name=path, max_pixels=_MAX_PIXELS)
    side = max(working_side, side_for_crops(info.width, info.height, boxes, size=spec.size))
    pixels = read_photo(data, name=path, max_pixels=_MAX_PIXELS, long_side=side).pixels
    part = np.array([pixels.shape[1] / info.width, pixels.shape[0] / info.height], np.float32)
    matrices = (
        spec.geometry.matrix(b * np.tile(part, 2), p * part, spec.size)
        for b, p in zip(boxes, points, strict=True)
    )
    return [warp(pixels, m, spec.size) for m in matrices]


def _ahead(cut: Callable[[str], _Cut], photos: list[str], threads: int) -> Iterator[_Cut]:
    """Cuts photos in threads, a bounded way ahead of the embedder, in order."""
    step = 4 * threads
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        for start in range(0, len(photos), step):
            yield from pool.map(cut, photos[start : start + step])


def originals_of(photos: pa.Table, roots: Mapping[str, str]) -> dict[str, Original]:
    """The places of every photo of a photos table; `roots` are the archives' locations by name."""
    places: dict[str, list[tuple[str, bytes]]] = {}
    values = (photos[c].to_pylist() for c in (ROOT, PATH_BYTES, PHOTO_ID))
    for root, path, photo in zip(*values, strict=True):
        if photo is not None and root in roots:
            places.setdefault(photo, []).append((roots[root], path))
    return {photo: Original(found) for photo, found in places.items()}
