"""Reads a crawl out of a library: its photos, whose they are said to be, and the faces that are meant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.edited_csv import edited_rows
from transforms.identities import Crawl, choose_faces
from transforms.library import Library, LibraryError
from transforms.records import NO_FACE, OK
from transforms.tables import (
    BOX,
    CONFIDENCE,
    EMBEDDING,
    FACE_ID,
    HEIGHT,
    IDENTITIES_SCHEMA,
    IDENTITY,
    PATH,
    PATH_BYTES,
    PHOTO_ID,
    ROOT,
    SIZE,
    STATUS,
    WIDTH,
    matrix,
)
from transforms.verification import centred


@dataclass(frozen=True)
class CrawlPhotos:
    """n photos (files) of a crawl, in order of root and path. `label` says whose each is; `pixels` and
    `bytes` int64[n] how large it is; `face` int64[n] a row of `face_ids` and `vectors`, -1 for none."""

    root: list[str]
    path: list[str]
    path_bytes: list[bytes]
    photo_id: list[str]
    label: list[str]
    pixels: np.ndarray
    bytes: np.ndarray
    face: np.ndarray
    face_ids: list[str]
    vectors: np.ndarray

    def __len__(self) -> int:
        return len(self.path)

    def crawl(self) -> Crawl:
        """The same as numbers."""
        names = sorted(set(self.label))
        place = {name: i for i, name in enumerate(names)}
        identity = np.array([place[label] for label in self.label], np.int64)
        return Crawl(names, identity, self.face, self.vectors)

    def labelled(self, labels: list[str]) -> CrawlPhotos:
        """The same photos, said to be others'."""
        return replace(self, label=labels)

    def table(self, fit: np.ndarray) -> pa.Table:
        """Rows of `IDENTITIES_SCHEMA`."""
        faces = [self.face_ids[f] if f >= 0 else None for f in self.face.tolist()]
        columns = {
            IDENTITY: self.label, ROOT: self.root, PATH: self.path, PATH_BYTES: self.path_bytes,
            PHOTO_ID: self.photo_id, FACE_ID: faces,
            CONFIDENCE: [None if np.isnan(f) else float(f) for f in fit],
        }  # fmt: skip
        return pa.table(columns, schema=IDENTITIES_SCHEMA)


def read_crawl(library: Library, centre: np.ndarray, labels: Mapping[str, str] | None = None) -> CrawlPhotos:
    """The photos of a library with their folders as labels, or those that `labels` (path → identity)
    names. Memory: 4 bytes a number of each face's vector.

    Raises LibraryError where there are none.
    """
    columns = [ROOT, PATH, PATH_BYTES, PHOTO_ID, WIDTH, HEIGHT, SIZE, STATUS]
    photos = library.read_photos(columns)
    photos = photos.filter(pc.is_in(photos[STATUS], value_set=pa.array([OK, NO_FACE])))
    paths, roots = photos[PATH].to_pylist(), photos[ROOT].to_pylist()
    if labels is not None:
        keep = [path in labels for path in paths]
        photos = photos.filter(pa.array(keep, pa.bool_()))
        paths, roots = photos[PATH].to_pylist(), photos[ROOT].to_pylist()
        names = [labels[path] for path in paths]
    else:
        names = [path.rpartition("/")[0] or root for path, root in zip(paths, roots, strict=True)]
    if not paths:
        raise LibraryError(
            f"{library.path} holds no photo of the crawl: index it first, or look at the labels"
        )
    faces = library.read_faces([FACE_ID, PHOTO_ID, BOX, EMBEDDING])
    vectors = centred(matrix(faces[EMBEDDING]), centre).astype(np.float32)
    rows_of: dict[str, list[int]] = {}
    for row, photo in enumerate(faces[PHOTO_ID].to_pylist()):
        rows_of.setdefault(photo, []).append(row)
    photo_ids = photos[PHOTO_ID].to_pylist()
    width, height = (photos[c].to_numpy().astype(np.int64) for c in (WIDTH, HEIGHT))
    size_of = dict(zip(photo_ids, zip(width.tolist(), height.tolist(), strict=True), strict=True))
    prominence = _prominence(matrix(faces[BOX]), faces[PHOTO_ID].to_pylist(), size_of)
    known = {name: i for i, name in enumerate(sorted(set(names)))}
    identity = np.array([known[name] for name in names], np.int64)
    face = choose_faces(identity, [rows_of.get(p, []) for p in photo_ids], prominence, vectors)
    return CrawlPhotos(
        roots, paths, photos[PATH_BYTES].to_pylist(), photo_ids, names, width * height,
        photos[SIZE].to_numpy(), face, faces[FACE_ID].to_pylist(), vectors,
    )  # fmt: skip


def _prominence(boxes: np.ndarray, photos: list[str], size_of: dict[str, tuple[int, int]]) -> np.ndarray:
    """How much a face is its photo's subject: its size, less the farther it is from the middle."""
    sizes = np.array([size_of.get(p, (1, 1)) for p in photos], np.float64).reshape(-1, 2)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    away = np.linalg.norm((middle - sizes / 2) / np.maximum(sizes / 2, 1), axis=1)
    return np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]) / (1 + away**2)


def read_labels(data: bytes, *, name: str) -> dict[str, str]:
    """path → identity from a CSV with these two columns. Raises LibraryError."""
    rows = edited_rows(data, required=(PATH, IDENTITY), name=name)
    return {row[PATH]: row[IDENTITY] for _, row in rows if row.get(IDENTITY) and row.get(PATH)}
