"""MTCNN: cascaded face detection with five landmarks (Zhang et al. 2016, arXiv:1604.02878).

The three networks and their trained weights are facenet-pytorch's. How they are run is Albumen's
own: photos of any size, the pyramids of many photos in tiles of one shape, the windows of many
photos in full batches, and no photo that is too small, too grey or without a face to run on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

import numpy as np

from models import mosaic, suppression
from models.area import level_part, reduced, summed_area, windows
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
class _Level:
    """A photo, by number, reduced by `scale` to `height` × `width` pixels."""

    photo: int
    scale: float
    height: int
    width: int

    @property
    def even_size(self) -> tuple[int, int]:
        """As P-Net gets it: a last odd row or column is repeated."""
        return self.height + self.height % 2, self.width + self.width % 2


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
        levels = [
            _Level(number, scale, int(height * scale + 1), int(width * scale + 1))
            for number, (height, width) in enumerate(_sizes(photos).tolist())
            for scale in pyramid_scales(height, width, self.settings.min_face, self.settings.pyramid_factor)
        ]
        side = self.networks.tile_side
        pieces = mosaic.pack([level.even_size for level in levels], side)
        if not pieces:
            return _no_candidates()
        tiles = mosaic.empty_tiles(pieces, side)
        for photo, own in groupby(sorted(pieces, key=lambda p: p.level), lambda p: levels[p.level].photo):
            # Tables are four times as large as photos, and quick to make while they fit into the caches: so
            # there is one at a time.
            table = summed_area(photos[photo])
            for piece in own:
                level = levels[piece.level]
                level_part(table, (level.height, level.width), piece.part, tiles, piece.place)
        threshold = self.settings.thresholds[0]
        corrections, probability = self.networks.propose(tiles, threshold)
        owner = mosaic.owners(pieces, probability.shape)
        tile, y, x = np.nonzero((probability >= threshold) & (owner >= 0))
        mine = owner[tile, y, x]
        from_tile = np.array([(p.x - p.tile_x, p.y - p.tile_y) for p in pieces])
        corners = np.stack([x, y], 1) * _STRIDE + from_tile[mine]
        number = np.array([p.level for p in pieces])[mine]
        return _proposed(levels, number, corners, corrections[tile, :, y, x], probability[tile, y, x])

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
        index = suppression.by_union(candidates.boxes, candidates.scores, 0.7, among=candidates.photo)
        boxes = _squared(_regressed(candidates.boxes[index], offset[keep][index]))
        return _Candidates(boxes, candidates.scores[index], candidates.photo[index])

    def _output(self, photos: Sequence[np.ndarray], candidates: _Candidates) -> list[Detections]:
        """O-Net: the faces of each photo with their landmarks."""
        candidates, outputs = self._judged(photos, candidates, _ONET_SIZE, self.networks.output)
        if not outputs:
            return [Detections.none() for _ in photos]
        offset, points, probability = outputs
        keep = np.flatnonzero(probability > self.settings.thresholds[2])
        candidates = _Candidates(candidates.boxes[keep], probability[keep], candidates.photo[keep])
        origin = candidates.boxes[:, None, :2]
        side = candidates.boxes[:, None, 2:] - origin + 1
        landmarks = points[keep].reshape(-1, 2, 5).transpose(0, 2, 1) * side + origin - 1
        boxes = _regressed(candidates.boxes, offset[keep])
        best = suppression.by_smaller(boxes, candidates.scores, 0.7, among=candidates.photo)
        faces = _Candidates(boxes[best], candidates.scores[best], candidates.photo[best])
        landmarks = landmarks[best]
        parts = [faces.of(photo) for photo in range(len(photos))]
        return [Detections(faces.boxes[part], faces.scores[part], landmarks[part]) for part in parts]

    def _judged(self, photos, candidates, size, network):
        """What a network says of the candidates' windows, without those that lie outside their photo."""
        boxes = _clipped(candidates.boxes, _sizes(photos)[candidates.photo])
        keep = np.flatnonzero((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))
        candidates, boxes = candidates.take(keep), boxes[keep]
        parts = []
        for begin in range(0, len(boxes), _WINDOWS):
            end = min(begin + _WINDOWS, len(boxes))
            pixels = np.empty((end - begin, 3, size, size), np.float32)
            for photo in np.unique(candidates.photo[begin:end]):
                mine = candidates.of(photo)
                low, high = max(mine.start, begin), min(mine.stop, end)
                _cut_windows(photos[photo], boxes[low:high], pixels[low - begin : high - begin])
            parts.append(network(pixels))
        return candidates, [np.concatenate(column) for column in zip(*parts, strict=True)]


def _sizes(photos: Sequence[np.ndarray]) -> np.ndarray:
    """Height and width of each photo: int64[n, 2]."""
    return np.array([photo.shape[:2] for photo in photos], np.int64).reshape(-1, 2)


def _cut_windows(photo: np.ndarray, boxes: np.ndarray, out: np.ndarray) -> None:
    """See `area.windows`; a table is made of no more of the photo than its windows show."""
    x0, y0 = boxes[:, :2].min(axis=0).tolist()
    x1, y1 = boxes[:, 2:].max(axis=0).tolist()
    windows(summed_area(photo[y0:y1, x0:x1]), boxes - np.array([x0, y0, x0, y0]), out)


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


def _proposed(
    levels: Sequence[_Level], number: np.ndarray, corners: np.ndarray, offset: np.ndarray, score: np.ndarray
) -> _Candidates:
    """The candidates of all photos from what P-Net found: on the level `number` int64[n], in the window at
    `corners` int64[n, 2] (x, y), with corrections `offset` float32[n, 4] and a `score` float32[n]."""
    scale = np.array([level.scale for level in levels], np.float32)[number][:, None]
    corner = corners.astype(np.float32)
    box = np.concatenate([np.floor((corner + 1) / scale), np.floor((corner + _WINDOW) / scale)], 1)
    photo = np.array([level.photo for level in levels])[number]
    on_level = suppression.by_union(box, score, 0.5, among=number)
    in_photo = suppression.by_union(box[on_level], score[on_level], 0.7, among=photo[on_level])
    keep = on_level[in_photo]
    box = box[keep]
    side = np.tile(box[:, 2:] - box[:, :2], 2)
    return _Candidates(_squared(box + offset[keep] * side), score[keep], photo[keep])


def _no_candidates() -> _Candidates:
    return _Candidates(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))


def _squared(boxes: np.ndarray) -> np.ndarray:
    """Boxes grown around their middle to squares."""
    size = boxes[:, 2:] - boxes[:, :2]
    side = size.max(axis=1, keepdims=True, initial=0)
    corner = boxes[:, :2] + size * 0.5 - side * 0.5
    return np.concatenate([corner, corner + side], axis=1)


def _regressed(boxes: np.ndarray, offset: np.ndarray) -> np.ndarray:
    side = boxes[:, 2:] - boxes[:, :2] + 1
    return boxes + offset * np.tile(side, 2)


def _clipped(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Whole pixels that each box covers of its photo, int64[n, 4]; empty where it lies outside.

    `sizes` int64[n, 2] is each photo's height and width. The networks were trained with boxes that
    count pixels from 1 and include both ends.
    """
    whole = np.trunc(boxes).astype(np.int64)
    low = np.maximum(whole[:, :2], 1) - 1
    high = np.minimum(whole[:, 2:], sizes[:, ::-1])
    return np.concatenate([low, high], axis=1)
