"""``albumen evaluate detection``: which labelled faces are found, beside facenet-pytorch's own loop."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.detector import MtcnnSettings, load_detector
from models.engine import choose_engine
from transforms.decode import prepare_pillow, read_photo

_LEAST_OVERLAP = 0.5
_HEIGHTS = (20, 40, 80, 160, 10_000)
_SCORED_FROM = 40


@dataclass(frozen=True)
class Truth:
    """Labelled boxes of one photo: float32[n, 4] (x0, y0, x1, y1), and bool[n] which of them score."""

    boxes: np.ndarray
    scored: np.ndarray


def match(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """int[m]: for each found box, best first, the labelled box that it takes, -1 for none.

    A found box takes the free labelled box that it overlaps most, from an intersection over union
    of one half.
    """
    taken = np.zeros(len(truth), bool)
    result = np.full(len(found), -1)
    for i, box in enumerate(found):
        overlap = np.where(taken, -1.0, intersection_over_union(box, truth))
        if len(truth) and overlap.max() >= _LEAST_OVERLAP:
            result[i] = int(overlap.argmax())
            taken[result[i]] = True
    return result


def intersection_over_union(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """float[n]: how much a box overlaps each of float[n, 4]."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    overlap = np.prod(np.maximum(high - low, 0), axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1) + np.prod(box[2:] - box[:2])
    return overlap / np.maximum(areas - overlap, 1e-9)


def read_boxes(path: str) -> dict[str, Truth]:
    """Labelled boxes by photo, from ``{photo: [{box: [x, y, w, h], invalid, …}]}``.

    Faces marked invalid or lower than 40 px do not score, neither as missed nor as false finds.
    """
    truths = {}
    for photo, faces in json.loads(Path(path).read_text(encoding="utf-8")).items():
        boxes = np.array([f["box"] for f in faces], np.float32).reshape(-1, 4)
        valid = np.array([not f.get("invalid") for f in faces], bool)
        scored = valid & (boxes[:, 3] >= _SCORED_FROM)
        truths[photo] = Truth(np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1), scored)
    return truths


def detection(photos: str, boxes: str) -> tuple[list[str], dict[str, object]]:
    """Recall and precision of both detectors on the photos that `boxes` names, side by side."""
    import torch

    torch.set_num_threads(1)
    prepare_pillow()
    truths = read_boxes(boxes)
    names = sorted(truths)
    lines = [f"{len(names)} photos"]
    facts: dict[str, object] = {}
    for label, detect in (("albumen", _albumen()), ("facenet-pytorch", _reference())):
        counts = Counts()
        started = time.process_time()
        for name in names:
            path = Path(photos, Path(name).name)
            pixels = read_photo(path.read_bytes(), name=path.name.encode(), max_pixels=10**9).pixels
            counts.add(detect(pixels), truths[name])
        facts[label] = {**counts.figures(), "seconds": time.process_time() - started}
        lines.append(f"{label:16} {counts.described()}")
    return lines, facts


class Counts:
    """Adds up what was found of what was labelled."""

    def __init__(self) -> None:
        self.hits = np.zeros(len(_HEIGHTS) - 1, int)
        self.labelled = np.zeros(len(_HEIGHTS) - 1, int)
        self.true = self.false = self.errors = 0

    def add(self, found: np.ndarray | None, truth: Truth) -> None:
        """`found`: float[n, 4], best first; None where the detector failed on the photo."""
        if found is None:
            self.errors += 1
            found = np.zeros((0, 4), np.float32)
        taken = match(found, truth.boxes)
        heights = truth.boxes[:, 3] - truth.boxes[:, 1]
        hit = np.zeros(len(heights), bool)
        hit[taken[taken >= 0]] = True
        self.labelled += np.histogram(heights[truth.scored], _HEIGHTS)[0]
        self.hits += np.histogram(heights[truth.scored & hit], _HEIGHTS)[0]
        large = found[:, 3] - found[:, 1] >= _SCORED_FROM
        self.true += int(sum(truth.scored[t] for t in taken if t >= 0))
        self.false += int((large & (taken < 0)).sum())

    def figures(self) -> dict[str, object]:
        """Recall overall and by height, precision of finds from 40 px, failures."""
        scored = slice(_HEIGHTS.index(_SCORED_FROM), None)
        return {
            "recall": self.hits[scored].sum() / max(1, self.labelled[scored].sum()),
            "precision": self.true / max(1, self.true + self.false),
            "recall_by_height": {
                f"{low}-{high}": h / n
                for low, high, h, n in zip(_HEIGHTS, _HEIGHTS[1:], self.hits, self.labelled, strict=False)
                if n
            },
            "labelled": int(self.labelled[scored].sum()),
            "errors": self.errors,
        }

    def described(self) -> str:
        """The figures as a line."""
        figures = self.figures()
        by_height = figures["recall_by_height"]
        assert isinstance(by_height, dict)
        heights = ", ".join(f"{k} px {v:.3f}" for k, v in by_height.items())
        return (
            f"recall {figures['recall']:.4f} of {figures['labelled']:,} faces from {_SCORED_FROM} px "
            f"({heights}), precision {figures['precision']:.4f}, {self.errors} photos failed"
        )


def _albumen() -> Callable[[np.ndarray], np.ndarray | None]:
    detector = load_detector(MtcnnSettings(), engine=choose_engine())

    def detect(pixels: np.ndarray) -> np.ndarray:
        return detector.detect([pixels])[0].boxes

    return detect


def _reference() -> Callable[[np.ndarray], np.ndarray | None]:
    from facenet_pytorch import MTCNN
    from PIL import Image

    mtcnn = MTCNN(keep_all=True)

    def detect(pixels: np.ndarray) -> np.ndarray | None:
        try:
            boxes, scores = mtcnn.detect(Image.fromarray(pixels))
        except Exception:  # its crashes are part of what is measured
            return None
        return np.zeros((0, 4), np.float32) if boxes is None else _best_first(boxes, scores)

    return detect


def _best_first(boxes: np.ndarray, scores: Sequence[float]) -> np.ndarray:
    return np.asarray(boxes, np.float32)[np.argsort(-np.asarray(scores, float), kind="stable")]
