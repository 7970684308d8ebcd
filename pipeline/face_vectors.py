"""Embeddings of labelled faces under another view: mirrored, compressed, shrunk, by a fixed crop.

They are kept in the folder for results, some hundred faces a file, so that an experiment that was stopped
goes on where it was, and the next one finds what both need.
"""

from __future__ import annotations

import hashlib
import io
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from models.embedder import ONNX_PREFIX, Embedder, load_embedder, unit
from models.engine import AUTO, TORCH, choose_engine, default_device
from pipeline.labelled import LabelledFaces, Workplace, spec_of
from pipeline.options import cores
from pipeline.progress import ProgressLine
from transforms import storage
from transforms.archive import read_file
from transforms.decode import NotAPhoto, UnreadablePhoto, prepare_pillow, read_photo
from transforms.export_list import write_listed
from transforms.face_view import FaceView, crop_pixels, view_crop
from transforms.index_config import DEFAULT_MAX_PIXELS
from transforms.library import LibraryError
from transforms.records import printable

_CHUNK = 512
_FOLDER = "vectors"


class FaceVectors:
    """Embeds the faces of a labelled library under views, by the embedder with which it was indexed.

    `precision` is that of `models.engine.choose_engine`.
    """

    def __init__(self, faces: LabelledFaces, work: Workplace, *, precision: str = AUTO) -> None:
        self._faces, self._work, self._precision = faces, work, precision
        self._roots = faces.library.info().roots
        self.spec = spec_of(faces.library, work.embedder)
        self._embedder: Embedder | None = None
        self._lock = threading.Lock()
        prepare_pillow()

    def embed(self, view: FaceView) -> np.ndarray:
        """float32[n, d] unit vectors of every face as `view` has it, whether or not the library holds the
        mean with mirror images. Raises LibraryError where a photo can't be read any more."""
        if view == FaceView() and not self.spec.mirror:
            return self._faces.vectors
        count = len(self._faces)
        chunks = [range(start, min(start + _CHUNK, count)) for start in range(0, count, _CHUNK)]
        parts = []
        # A thread a core, each with one math thread: two cores for one small batch wait for each other.
        threads = ThreadPoolExecutor(cores(), initializer=_one_math_thread)
        try:
            with ProgressLine(count, quiet=self._work.quiet) as line:
                for rows, part in zip(
                    chunks, threads.map(lambda c: self._chunk(view, c), chunks), strict=True
                ):
                    parts.append(part)
                    line.update(done=rows.stop, faces=rows.stop, errors=0)
        finally:
            threads.shutdown(cancel_futures=True)
        return np.concatenate(parts)

    def mirrored(self, view: FaceView) -> np.ndarray:
        """float32[n, d]: the mean with the mirror image, at unit length."""
        if view == FaceView() and self.spec.mirror:
            return self._faces.vectors
        return unit(self.embed(view) + self.embed(replace(view, flip=True)))

    def as_indexed(self, view: FaceView) -> np.ndarray:
        """float32[n, d]: with mirror images where the library was indexed with them."""
        return self.mirrored(view) if self.spec.mirror else self.embed(view)

    def pixels(self) -> np.ndarray:
        """float64[n]: how many pixels of its photo each face's crop shows."""
        geometry, size = self.spec.geometry, self.spec.size
        pairs = zip(self._faces.boxes, self._faces.landmarks, strict=True)
        return np.array([crop_pixels(geometry.matrix(b, p, size), size) for b, p in pairs])

    def crops(self, rows: Iterator[int] | range, view: FaceView = FaceView()) -> np.ndarray:
        """uint8[m, size, size, 3]: the crops of some of the faces."""
        return np.stack([self._crop(row, view) for row in rows])

    def _chunk(self, view: FaceView, rows: range) -> np.ndarray:
        name = self._name(view, rows)
        path = storage.join(self._work.out, *name.split("/"))
        if storage.exists(path):
            return np.load(io.BytesIO(storage.read_bytes(path)), allow_pickle=False)
        vectors = self._loaded().embed(self.crops(rows, view))
        file = io.BytesIO()
        np.save(file, vectors, allow_pickle=False)
        write_listed(self._work.out, name, file.getvalue())
        return vectors

    def _name(self, view: FaceView, rows: range) -> str:
        """Named by all that decides the vectors: the embedder, the view, and which faces."""
        where = [self._faces.boxes[rows].round(2).tolist(), self._faces.face_ids[rows.start : rows.stop]]
        described = {**self.spec.describe(), "mirror": False}
        if self._precision != AUTO:
            described["precision"] = self._precision
        text = json.dumps([described, view.name, where], sort_keys=True)
        name = hashlib.sha256(text.encode()).hexdigest()[:32]
        return f"{_FOLDER}/{view.name}/{name}.npy"

    def _loaded(self) -> Embedder:
        with self._lock:
            if self._embedder is None:
                name = self._work.embedder if self.spec.name == ONNX_PREFIX.rstrip(":") else self.spec.name
                assert name is not None  # spec_of has seen to that
                self._embedder = load_embedder(
                    name, engine=choose_engine(device=default_device(), precision=self._precision)
                )
            return self._embedder

    def _crop(self, row: int, view: FaceView) -> np.ndarray:
        root, path = self._faces.files[row]
        try:
            data = read_file(self._roots[root], path)
            photo = read_photo(data, name=path, max_pixels=DEFAULT_MAX_PIXELS).pixels
        except (OSError, NotAPhoto, UnreadablePhoto) as error:
            raise LibraryError(
                f"{printable(path)} below {self._roots[root]} can't be read any more ({error}): "
                f"index the archive again, or say where it is now with --relocate {root}"
            ) from error
        box, points = self._faces.boxes[row], self._faces.landmarks[row]
        geometry, size = self.spec.geometry, self.spec.size
        return view_crop(photo, view, box=box, landmarks=points, geometry=geometry, size=size)


def _one_math_thread() -> None:
    if choose_engine(device=default_device()).backend == TORCH:
        import torch

        torch.set_num_threads(1)
