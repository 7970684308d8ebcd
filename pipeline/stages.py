"""The stages of indexing, each measured by itself on the same photos in one thread."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from models.crop import UprightBoxGeometry
from models.detector import Detections, MtcnnSettings, load_detector
from models.embedder import load_embedder
from models.engine import Engine
from models.facenet_weights import FACENET_CASIA
from models.mtcnn import Mtcnn
from pipeline.kernel_clock import DECODE, EMBED, NETWORKS, time_networks, timed
from transforms.align import sharpness, thumbnail, warp
from transforms.decode import prepare_pillow, read_info, read_photo
from transforms.detect import DECODED_SIDE, search_cost, searched_together
from transforms.known_content import content_id
from transforms.records import FaceRow
from transforms.storage import write_bytes
from transforms.tables import faces_table

_MAX_PIXELS = 10**9


@dataclass(frozen=True)
class Stages:
    """Milliseconds a photo by stage; of detection also the part that its networks take."""

    milliseconds: dict[str, float]

    @classmethod
    def usual(cls, turns: Sequence[Stages]) -> Stages:
        """The median of several measurements, stage by stage."""
        return cls(
            {name: median(turn.milliseconds[name] for turn in turns) for name in turns[0].milliseconds}
        )

    @property
    def floor(self) -> float:
        """Decoding alone and the networks alone, at full batches."""
        return sum(self.milliseconds[s] for s in (DECODE, NETWORKS, EMBED))

    def __str__(self) -> str:
        return ", ".join(f"{name} {value:.2f}" for name, value in self.milliseconds.items())


class StageClock:
    """Runs stage after stage over groups of photos, as indexing does, in one thread, each with a clock."""

    def __init__(self, engine: Engine) -> None:
        prepare_pillow()
        detector = load_detector(MtcnnSettings(), engine=engine)
        assert isinstance(detector, Mtcnn)
        self._detector, self._in_networks = detector, dict[str, float]()
        time_networks(detector.networks, self._in_networks, time.perf_counter)
        self._embedder = load_embedder(FACENET_CASIA, engine=engine)
        self._geometry = UprightBoxGeometry()

    def __call__(self, paths: Sequence[str]) -> dict[str, object]:
        """How many `faces` there are, and the `milliseconds` a photo by stage."""
        self._in_networks.clear()
        spent: dict[str, float] = {}

        def clock(stage: str, function: Callable, *args):
            return timed(function, stage, spent, time.perf_counter)(*args)

        crops: list[np.ndarray] = []
        rows: list[FaceRow] = []
        clock("list", lambda: [os.stat(path) for path in paths])
        for group in searched_together(paths, self._cost):
            files = clock("read", lambda g: [_read(path) for path in g], group)
            photos = clock("decode", lambda f: [_decode(path, data) for path, data, _ in f], files)
            found = clock("detect", self._detector.detect, photos)
            for pixels, faces, (_, _, photo_id) in zip(photos, found, files, strict=True):
                cut, made = clock("align", self._align, pixels, faces, photo_id)
                crops += cut
                rows += made
        stacked = np.stack(crops) if crops else np.zeros((0, 160, 160, 3), np.uint8)
        vectors = clock("embed", self._embedder.embed, stacked)
        with tempfile.TemporaryDirectory() as folder:
            clock("write", _write, folder, rows, vectors)
        spent[NETWORKS] = self._in_networks.get(NETWORKS, 0.0)
        return {"faces": len(rows), "milliseconds": {s: t / len(paths) * 1000 for s, t in spent.items()}}

    def _cost(self, path: str) -> tuple[int, int]:
        info = read_info(Path(path).read_bytes(), name=os.fsencode(path), max_pixels=_MAX_PIXELS)
        return search_cost(info, self._detector.settings.working_side)

    def _align(
        self, pixels: np.ndarray, faces: Detections, photo_id: str
    ) -> tuple[list[np.ndarray], list[FaceRow]]:
        crops, rows = [], []
        for k, (box, points) in enumerate(zip(faces.boxes, faces.landmarks, strict=True)):
            crop = warp(pixels, self._geometry.matrix(box, points, 160), 160)
            thumbnail(pixels, box)
            crops.append(crop)
            rows.append(
                FaceRow(f"{photo_id}:{k}", photo_id, box, points, 1.0, 1.0, sharpness(crop), 0.0, 0.0)
            )
        return crops, rows


def _read(path: str) -> tuple[str, bytes, str]:
    data = Path(path).read_bytes()
    return path, data, content_id(data)


def _decode(path: str, data: bytes) -> np.ndarray:
    return read_photo(data, name=os.fsencode(path), max_pixels=_MAX_PIXELS, long_side=DECODED_SIDE).pixels


def _write(folder: str, rows: Sequence[FaceRow], vectors: np.ndarray) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(faces_table(rows, vectors), sink, compression="zstd")
    write_bytes(os.path.join(folder, "faces"), memoryview(sink.getvalue()))
