"""Faces of a file that was written anew, found again in it.

An edit of a photo's metadata changes the file's content, so its photo and its faces get new ids. What was
known of the old faces (their person, their corrections) passes to the new ones: same path, a box in the
same place, and a vector that is as good as the same. The pairs are kept in the library, since the old
faces themselves are removed when the run that indexed the new ones tidies up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.library import Library
from transforms.records import OK
from transforms.tables import (
    BOX,
    EMBEDDING,
    FACE_ID,
    HEIGHT,
    INDEXED_AT,
    PATH_BYTES,
    PHOTO_ID,
    ROOT,
    STATUS,
    SUCCESSOR_ID,
    SUCCESSORS_SCHEMA,
    WIDTH,
    matrix,
)

# The same picture saved again, even as a smaller JPEG, keeps faces far above both.
LEAST_OVERLAP = 0.5
LEAST_COSINE = 0.9


@dataclass(frozen=True)
class Successors:
    """Which face a face has become, for faces that the library no longer holds."""

    heirs: Mapping[str, str]

    @classmethod
    def of(cls, library: Library, face_ids: pa.Array) -> Successors:
        """Reads what `record_successors` wrote; `face_ids` are those that the library holds now."""
        table = library.read_successors()
        pairs = dict(zip(table[FACE_ID].to_pylist(), table[SUCCESSOR_ID].to_pylist(), strict=True))
        if not pairs:
            return cls({})
        named = pa.array(sorted({*pairs, *pairs.values()}), pa.string())
        present = set(named.filter(pc.is_in(named, value_set=face_ids.cast(pa.string()))).to_pylist())
        heirs = {}
        for face in pairs:
            heir, seen = face, set[str]()
            while heir in pairs and heir not in present and heir not in seen:
                seen.add(heir)
                heir = pairs[heir]
            if heir != face and heir in present:
                heirs[face] = heir
        return cls(heirs)

    def now(self, faces: Iterable[str]) -> list[str]:
        """The faces as they are called now."""
        return [self.heirs.get(f, f) for f in faces]

    def renamed(self, faces: pa.ChunkedArray) -> pa.ChunkedArray:
        """A column of face ids as they are called now."""
        return pa.chunked_array([pa.array(self.now(faces.to_pylist()), pa.string())]) if self.heirs else faces


def record_successors(library: Library, run: str) -> int:
    """Finds the faces of files that were indexed again with other content; returns how many.

    Only for the holder of the lease, before the library is tidied.
    """
    changed = _changed_files(library)
    if not changed:
        return 0
    sizes = {p: s for old, new in changed for p, s in (old, new)}
    faces = _faces_by_photo(library, list(sizes))
    pairs = []
    for (old, old_size), (new, new_size) in changed:
        if old in faces and new in faces:
            pairs += match_faces(faces[old], faces[new], old_size=old_size, new_size=new_size)
    if pairs:
        old_ids, new_ids = zip(*pairs, strict=True)
        library.write_successors(run, pa.table([list(old_ids), list(new_ids)], schema=SUCCESSORS_SCHEMA))
    return len(pairs)


@dataclass(frozen=True)
class PhotoFaces:
    """The faces of one photo: ids, boxes float32[n, 4] in pixels, unit vectors float32[n, d]."""

    ids: list[str]
    boxes: np.ndarray
    vectors: np.ndarray


def match_faces(
    old: PhotoFaces, new: PhotoFaces, *, old_size: tuple[int, int], new_size: tuple[int, int]
) -> list[tuple[str, str]]:
    """Pairs of faces of two versions of a photo, whose sizes are (width, height), the surest first."""
    overlaps = iou(old.boxes / (*old_size, *old_size), new.boxes / (*new_size, *new_size))
    cosine = old.vectors @ new.vectors.T
    fits = np.where((overlaps >= LEAST_OVERLAP) & (cosine >= LEAST_COSINE), overlaps + cosine, -1.0)
    pairs = []
    while fits.size and fits.max() > 0:
        i, j = np.unravel_index(int(fits.argmax()), fits.shape)
        pairs.append((old.ids[int(i)], new.ids[int(j)]))
        fits[i], fits[:, j] = -1, -1
    return pairs


def iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """float[n, m]: intersection over union of all pairs of boxes, each x0, y0, x1, y1."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=2)
    area, other_area = (np.prod(b[:, 2:] - b[:, :2], axis=1) for b in (boxes, others))
    return shared / np.maximum(area[:, None] + other_area[None] - shared, 1e-12)


_Sized = tuple[str, tuple[int, int]]


def _changed_files(library: Library) -> list[tuple[_Sized, _Sized]]:
    """For each file with rows of several contents: the last two of these, older and newer."""
    columns = [ROOT, PATH_BYTES, PHOTO_ID, WIDTH, HEIGHT, STATUS, INDEXED_AT]
    table = library.read_photo_history(columns)
    table = table.filter(pc.and_(pc.equal(table[STATUS], OK), pc.is_valid(table[PHOTO_ID])))
    contents = table.group_by([ROOT, PATH_BYTES]).aggregate([(PHOTO_ID, "count_distinct")])
    several = contents.filter(pc.greater(contents[f"{PHOTO_ID}_count_distinct"], 1))
    if not len(several):
        return []
    rows = table.join(several, [ROOT, PATH_BYTES], join_type="inner").sort_by(INDEXED_AT).to_pylist()
    versions: dict[tuple[str, bytes], dict[str, tuple[int, int]]] = {}
    for row in rows:
        known = versions.setdefault((row[ROOT], row[PATH_BYTES]), {})
        known.pop(row[PHOTO_ID], None)
        known[row[PHOTO_ID]] = (row[WIDTH], row[HEIGHT])
    return [(list(v.items())[-2], list(v.items())[-1]) for v in versions.values()]


def _faces_by_photo(library: Library, photos: list[str]) -> dict[str, PhotoFaces]:
    table = library.read_faces_of(photos, [FACE_ID, PHOTO_ID, BOX, EMBEDDING])
    found: dict[str, PhotoFaces] = {}
    if not len(table):
        return found
    ids, owner = table[FACE_ID].to_pylist(), np.array(table[PHOTO_ID].to_pylist())
    boxes, vectors = matrix(table[BOX]), matrix(table[EMBEDDING])
    for photo in np.unique(owner):
        rows = np.flatnonzero(owner == photo)
        # The same content may have been indexed twice.
        first = {ids[r]: r for r in rows[::-1].tolist()}
        kept = list(first.values())
        found[str(photo)] = PhotoFaces([ids[r] for r in kept], boxes[kept], vectors[kept])
    return found
