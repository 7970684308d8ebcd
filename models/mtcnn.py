"""MTCNN: cascaded face detection with five landmarks (Zhang et al. 2016, arXiv:1604.02878).

The three networks and their trained weights are facenet-pytorch's. How they are run is Albumen's
own: photos of any size, the pyramids of many photos in tiles of one shape, the windows of many
photos in full batches, and no photo that is too small, too grey or without a face to run on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from models import mosaic, suppression
from models.area import pyramid_level, reduced, windows
from models.detector import Detections, MtcnnSettings

_WINDOW, _STRIDE = mosaic.WINDOW, mosaic.STRIDE
_RNET_SIZE, _ONET_SIZE = 24, 48
# Windows are cut out and judged so many at a time: some 30 MB of pixels.
_WINDOWS = 1024


class MtcnnNetworks(Protocol):
    """The three networks on some engine. Pixels are RGB, (x − 127.5) / 128, channels first.

    What is said of places whose probability lies below `threshold` needs to be roughly right only.
    """

    tile_side: int

    def propose(self, tiles: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """P-Net: float32[n, 3, s, s] → corrections float32[n, 4, t, t], probability float32[n, t, t]."""
        ...

    def refine(self, pixels: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """R-Net: float32[n, 3, 24, 24] → corrections float32[n, 4], probability float32[n]."""
        ...

    def output(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """O-Net: float32[n, 3, 48, 48] → corrections float32[n, 4], landmarks float32[n, 10] (x of
        five points, then y), probability float32[n]."""
        ...


@dataclass(frozen=True)
class _Candidates:
    """Boxes float32[n, 4], their scores float32[n], and which photo each lies in: int64[n], ascending."""

    boxes: np.ndarray
    scores: np.ndarray
    photo: np.ndarray

    def take(self, index: np.ndarray) -> _Candidates:
        return _Candidates(self.boxes[index], self.scores[index], self.photo[index])

    def of(self, photo: int) -> slice:
        """Where the boxes of one photo lie."""
        return slice(*np.searchsorted(self.photo, (photo, photo + 1)))


class Mtcnn:
    """A detector. Photos in, boxes, scores and landmarks out, in the pixels of the photos given."""

    def __init__(self, settings: MtcnnSettings, networks: MtcnnNetworks) -> None:
        self.settings, self.networks = settings, networks

    def detect(self, photos: Sequence[np.ndarray]) -> list[Detections]:
        """Faces of each photo, uint8[h, w, 3] RGB and upright, best score first.

        Photos with a longer side than the working side are searched at that size.
        """
        small = [at_working_size(photo, self.settings.working_side) for photo in photos]
        candidates = self._refine(small, self._propose(small))
        scaled = []
        for photo, searched, faces in zip(photos, small, self._output(small, candidates), strict=True):
            factor = np.array(
                [photo.shape[1] / searched.shape[1], photo.shape[0] / searched.shape[0]], np.float32
            )
            scaled.append(
                Detections(faces.boxes * np.tile(factor, 2), faces.scores, faces.landmarks * factor)
            )
        return scaled

    def _propose(self, photos: Sequence[np.ndarray]) -> _Candidates:
        """P-Net over the pyramids of all photos: candidate boxes, squared."""
        levels: list[np.ndarray] = []
        scales: list[float] = []
        first: list[int] = []
        for photo in photos:
            height, width = photo.shape[:2]
            first.append(len(levels))
            for scale in pyramid_scales(height, width, self.settings.min_face, self.settings.pyramid_factor):
                levels.append(pyramid_level(photo, int(height * scale + 1), int(width * scale + 1)))
                scales.append(scale)
        side = self.networks.tile_side
        pieces = mosaic.pack([level.shape[1:] for level in levels], side)
        if not pieces:
            return _no_candidates()
        corrections, probability = self.networks.propose(
            mosaic.tiles(levels, pieces, side), self.settings.thresholds[0]
        )
        by_level: list[list[tuple[np.ndarray, ...]]] = [[] for _ in levels]
        for piece in pieces:
            rows, columns = piece.outputs
            found = probability[piece.tile, rows, columns]
            y, x = np.nonzero(found >= self.settings.thresholds[0])
            if len(y):
                offset = corrections[piece.tile, :, rows, columns][:, y, x].T
                corner = np.stack([x * _STRIDE + piece.x, y * _STRIDE + piece.y], 1)
                by_level[piece.level].append((corner.astype(np.float32), offset, found[y, x]))
        return _concatenate(
            [
                _proposed(by_level[begin:end], scales[begin:end], number)
                for number, (begin, end) in enumerate(
                    zip(first, [*first[1:], len(levels)], strict=True)
                )
            ]
        )  # fmt: skip

    def _refine(self, photos: Sequence[np.ndarray], candidates: _Candidates) -> _Candidates:
        """R-Net: fewer candidates, moved closer, squared."""
        candidates, outputs = self._judged(
            photos, candidates, _RNET_SIZE, lambda p: self.networks.refine(p, self.settings.thresholds[1])
        )
        if not outputs:
            return candidates
        offset, probability = outputs
        keep = np.flatnonzero(probability > self.settings.thresholds[1])
        candidates = _Candidates(candidates.boxes[keep], probability[keep], candidates.photo[keep])
        offset = offset[keep]
        kept = []
        for photo in range(len(photos)):
            mine = candidates.of(photo)
            kept.append(
                mine.start + suppression.by_union(candidates.boxes[mine], candidates.scores[mine], 0.7)
            )
        index = np.concatenate(kept) if kept else np.zeros(0, np.int64)
        candidates = candidates.take(index)
        return _Candidates(
            _squared(_regressed(candidates.boxes, offset[index])), candidates.scores, candidates.photo
        )

    def _output(self, photos: Sequence[np.ndarray], candidates: _Candidates) -> list[Detections]:
        """O-Net: the faces of each photo with their landmarks."""
        candidates, outputs = self._judged(photos, candidates, _ONET_SIZE, self.networks.output)
        if not outputs:
            return [Detections.none() for _ in photos]
        offset, points, probability = outputs
        keep = np.flatnonzero(probability > self.settings.thresholds[2])
        candidates = _Candidates(candidates.boxes[keep], probability[keep], candidates.photo[keep])
        offset, points = offset[keep], points[keep]
        origin = candidates.boxes[:, None, :2]
        side = candidates.boxes[:, None, 2:] - origin + 1
        landmarks = points.reshape(-1, 2, 5).transpose(0, 2, 1) * side + origin - 1
        boxes = _regressed(candidates.boxes, offset)
        detections = []
        for photo in range(len(photos)):
            mine = candidates.of(photo)
            best = mine.start + suppression.by_smaller(boxes[mine], candidates.scores[mine], 0.7)
            detections.append(Detections(boxes[best], candidates.scores[best], landmarks[best]))
        return detections

    def _judged(self, photos, candidates, size, network):
        """What a network says of the candidates' windows, without those that lie outside their photo."""
        inside = [
            _clipped(candidates.boxes[candidates.of(i)], p.shape[1], p.shape[0]) for i, p in enumerate(photos)
        ]
        boxes = np.concatenate([*inside, np.zeros((0, 4), np.int64)])
        keep = np.flatnonzero((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))
        candidates, boxes = candidates.take(keep), boxes[keep]
        parts = []
        for begin in range(0, len(boxes), _WINDOWS):
            end = min(begin + _WINDOWS, len(boxes))
            pixels = np.empty((end - begin, 3, size, size), np.float32)
            for photo in np.unique(candidates.photo[begin:end]):
                mine = candidates.of(photo)
                low, high = max(mine.start, begin), min(mine.stop, end)
                windows(photos[photo], boxes[low:high], pixels[low - begin : high - begin])
            parts.append(network(pixels))
        return candidates, [np.concatenate(column) for column in zip(*parts, strict=True)]


def at_working_size(photo: np.ndarray, side: int) -> np.ndarray:
    """uint8[h, w, 3] averaged down so that its longer side is at most `side`."""
    height, width = photo.shape[:2]
    factor = side / max(height, width)
    if factor >= 1:
        return photo
    return reduced(photo, max(1, round(height * factor)), max(1, round(width * factor)))


def pyramid_scales(height: int, width: int, min_face: float, factor: float) -> list[float]:
    """Scales at which P-Net's 12-pixel window sees faces from `min_face` pixels to the whole photo."""
    scales, scale = [], _WINDOW / min_face
    while min(height, width) * scale >= _WINDOW:
        scales.append(scale)
        scale *= factor
    return scales


def _proposed(levels: list[list[tuple[np.ndarray, ...]]], scales: list[float], photo: int) -> _Candidates:
    """The candidates of one photo from what P-Net found on each of its levels."""
    boxes, offsets, scores = [], [], []
    for found, scale in zip(levels, scales, strict=True):
        if not found:
            continue
        corner, offset, score = (np.concatenate(part) for part in zip(*found, strict=True))
        box = np.concatenate(
            [np.floor((corner + 1) / np.float32(scale)), np.floor((corner + _WINDOW) / np.float32(scale))], 1
        )
        keep = suppression.by_union(box, score, 0.5)
        boxes.append(box[keep])
        offsets.append(offset[keep])
        scores.append(score[keep])
    if not boxes:
        return _no_candidates()
    box, offset, score = np.concatenate(boxes), np.concatenate(offsets), np.concatenate(scores)
    keep = suppression.by_union(box, score, 0.7)
    box, offset = box[keep], offset[keep]
    side = np.tile(box[:, 2:] - box[:, :2], 2)
    return _Candidates(_squared(box + offset * side), score[keep], np.full(len(keep), photo))


def _no_candidates() -> _Candidates:
    return _Candidates(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))


def _concatenate(parts: list[_Candidates]) -> _Candidates:
    parts = parts or [_no_candidates()]
    return _Candidates(
        np.concatenate([p.boxes for p in parts]),
        np.concatenate([p.scores for p in parts]),
        np.concatenate([p.photo for p in parts]),
    )


def _squared(boxes: np.ndarray) -> np.ndarray:
    """Boxes grown around their middle to squares."""
    size = boxes[:, 2:] - boxes[:, :2]
    side = size.max(axis=1, keepdims=True, initial=0)
    corner = boxes[:, :2] + size * 0.5 - side * 0.5
    return np.concatenate([corner, corner + side], axis=1)


def _regressed(boxes: np.ndarray, offset: np.ndarray) -> np.ndarray:
    side = boxes[:, 2:] - boxes[:, :2] + 1
    return boxes + offset * np.tile(side, 2)


def _clipped(boxes: np.ndarray, width: int, height: int) -> np.ndarray:
    """Whole pixels of the photo that each box covers, int64[n, 4]; empty where it lies outside.

    The networks were trained with boxes that count pixels from 1 and include both ends.
    """
    whole = np.trunc(boxes).astype(np.int64)
    x0, y0 = np.maximum(whole[:, 0], 1) - 1, np.maximum(whole[:, 1], 1) - 1
    x1, y1 = np.minimum(whole[:, 2], width), np.minimum(whole[:, 3], height)
    return np.stack([x0, y0, x1, y1], axis=1)
