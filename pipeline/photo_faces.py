"""The faces of single photographs, found and embedded exactly as indexing does it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.detector import MtcnnSettings, load_detector
from models.embedder import FACENET_CASIA, EmbedderSpec, embedder_spec, load_embedder
from models.engine import choose_engine, default_device
from pipeline.labelled import spec_of
from pipeline.options import UsageError
from transforms import storage
from transforms.align import warp
from transforms.archive import RootGuard
from transforms.decode import prepare_pillow
from transforms.detect import ChunkDetector
from transforms.embed import embed_slice
from transforms.index_config import IndexConfig
from transforms.known_content import KnownContent
from transforms.labels import face_at
from transforms.library import Library
from transforms.manifest import Chunk
from transforms.records import OK, FaceRow, FileEntry, PhotoRow, printable


@dataclass(frozen=True)
class PhotoFaces:
    """A photo's faces from left to right: rows, vectors float32[n, d] of unit length, thumbnails (JPEG)."""

    name: str
    row: PhotoRow
    faces: Sequence[FaceRow]
    vectors: np.ndarray
    thumbs: Sequence[bytes]


class PhotoReader:
    """Reads single photos. Holds detector and embedder."""

    def __init__(self, spec: EmbedderSpec, embedder: str, detector: MtcnnSettings) -> None:
        prepare_pillow()
        self.spec = spec
        self._name, self.detector = embedder, detector
        engine = choose_engine(device=default_device())
        self._finder = load_detector(detector, engine=engine)
        self._embedder = load_embedder(embedder, mirror=spec.mirror, engine=engine)

    @classmethod
    def for_library(cls, library: Library, embedder: str | None = None) -> PhotoReader:
        """A reader whose vectors can be compared with a library's. Raises UsageError, LibraryError."""
        spec = spec_of(library, embedder)
        settings = dict((library.info().settings or {}).get("detector") or {})  # type: ignore[call-overload]
        return cls(spec, embedder or spec.name, MtcnnSettings.described(settings))

    @classmethod
    def default(cls, embedder: str | None = None, *, mirror: bool = False) -> PhotoReader:
        """A reader with the default detector. Raises WeightsError for an unknown embedder."""
        name = embedder or FACENET_CASIA
        return cls(embedder_spec(name, mirror=mirror), name, MtcnnSettings())

    @property
    def dimensions(self) -> int:
        """Of the vectors."""
        return self._embedder.dimensions

    def main_crop(self, pixels: np.ndarray) -> np.ndarray | None:
        """uint8[size, size, 3]: the face that uint8[h, w, 3] pixels are about; None without a face."""
        found = self._finder.detect([pixels])[0]
        k = main_face(found.boxes, pixels.shape[1], pixels.shape[0])
        if k < 0:
            return None
        matrix = self.spec.geometry.matrix(found.boxes[k], found.landmarks[k], self.spec.size)
        return warp(pixels, matrix, self.spec.size)

    def embed(self, crops: np.ndarray) -> np.ndarray:
        """float32[n, d] unit vectors of uint8[n, size, size, 3] crops."""
        return self._embedder.embed(crops)

    def read(self, path: str) -> PhotoFaces:
        """The faces of the photo at `path`; none where it has none.

        Raises UsageError that names the file where it can't be read or is no photograph.
        """
        folder, name = os.path.split(os.path.abspath(path))
        try:
            size = storage.size(path)
        except OSError as error:
            raise UsageError(f"{path} can't be read: {error.strerror or error}") from error
        config = IndexConfig(
            library="", run="", root="photo", location=folder, guard=RootGuard.of(folder),
            embedder=self._name, mirror=self.spec.mirror, detector=self.detector,
        )  # fmt: skip
        nothing = KnownContent(np.zeros(0, "S32"), np.zeros(0, bool))
        chunks = ChunkDetector(config, self._finder, self.spec, nothing)
        entry = FileEntry("photo", os.fsencode(name), size, 0)
        parts = [embed_slice(part, self._embedder) for part in chunks.slices(Chunk("", "", 0, 0, 1), [entry])]
        row = parts[-1].photos[0] if parts[-1].photos else next(p.photos[0] for p in parts if p.photos)
        if row.status != OK and row.status != "no_face":
            raise UsageError(f"{path} can't be used: {row.reason}")
        return PhotoFaces(
            name=printable(os.fsencode(name)),
            row=row,
            faces=[face for part in parts for face in part.faces],
            vectors=np.concatenate([part.embeddings for part in parts if part.embeddings is not None]),
            thumbs=[thumb for part in parts for thumb in part.thumbs],
        )


def main_face(boxes: np.ndarray, width: int, height: int) -> int:
    """Which of float32[n, 4] boxes a picture is about: the one at its centre, else the largest, else -1."""
    if not len(boxes):
        return -1
    at_centre = face_at(boxes, (width / 2, height / 2))
    return at_centre if at_centre >= 0 else int(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1).argmax())


def with_faces(reader: PhotoReader, path: str) -> PhotoFaces:
    """The faces of a photo. Raises UsageError where it has none, or can't be read."""
    found = reader.read(path)
    if not found.faces:
        raise UsageError(f"{path} has no face that the detector finds: give a photo with one")
    return found


def place(face: FaceRow) -> str:
    """Where a face lies, for a person: as in "face of 93×120 px at (130, 90)"."""
    x0, y0, x1, y1 = (round(float(v)) for v in face.box)
    return f"face of {x1 - x0}×{y1 - y0} px at ({x0}, {y0})"
