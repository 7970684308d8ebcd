"""MTCNN: cascaded face detection with five landmarks (Zhang et al. 2016, arXiv:1604.02878).

The three networks and their trained weights are facenet-pytorch's. How they are run is Albumen's
own: photos of any size, one integral image a photo for pyramid and windows, the windows of many
photos in full batches, and no photo that is too small, too grey or without a face to run on.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from facenet_pytorch.models.mtcnn import ONet, PNet, RNet
from PIL import Image
from torchvision.ops import batched_nms, nms

from models.area import area_crops, area_resize, integral_image
from models.detector import Detections, MtcnnSettings
from models.weights import PackagedFile

_PACKAGE = ("facenet_pytorch", "facenet-pytorch")
_SHA256 = {
    "pnet": "a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f",
    "rnet": "bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86",
    "onet": "165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d",
}
WEIGHTS = {name: PackagedFile(*_PACKAGE, ("data", f"{name}.pt"), digest) for name, digest in _SHA256.items()}

_CELL, _STRIDE = 12, 2  # P-Net sees 12 × 12 pixels at a time, every second pixel
_BATCH = 512


@dataclass(frozen=True)
class _Candidates:
    """Boxes float32[n, 4] with scores float32[n] and, per box, which photo it lies in: int64[n]."""

    boxes: np.ndarray
    scores: np.ndarray
    photo: np.ndarray

    def take(self, index: np.ndarray) -> _Candidates:
        return _Candidates(self.boxes[index], self.scores[index], self.photo[index])


class Mtcnn:
    """A detector. Photos in, boxes, scores and landmarks out, in the pixels of the photos given."""

    def __init__(self, settings: MtcnnSettings, *, device: str = "cpu") -> None:
        self.settings = settings
        self.device = torch.device(device)
        self._pnet, self._rnet, self._onet = (
            _network(kind(pretrained=False), WEIGHTS[name], self.device)
            for name, kind in (("pnet", PNet), ("rnet", RNet), ("onet", ONet))
        )

    @torch.inference_mode()
    def detect(self, photos: Sequence[np.ndarray]) -> list[Detections]:
        """Faces of each photo, uint8[h, w, 3] RGB and upright, best score first.

        Photos with a longer side than the working side are searched at that size.
        """
        if not photos:
            return []
        reduced = [_reduce(photo, self.settings.working_side) for photo in photos]
        sums = [integral_image(photo) for photo in reduced]
        found = self._detect(sums)
        scaled = []
        for photo, small, faces in zip(photos, reduced, found, strict=True):
            factor = np.array([photo.shape[1] / small.shape[1], photo.shape[0] / small.shape[0]], np.float32)
            scaled.append(
                Detections(faces.boxes * np.tile(factor, 2), faces.scores, faces.landmarks * factor)
            )
        return scaled

    def _detect(self, sums: list[np.ndarray]) -> list[Detections]:
        candidates = _concatenate([self._propose(s, i) for i, s in enumerate(sums)])
        candidates = self._refine(sums, candidates)
        return self._output(sums, candidates)

    def _propose(self, sums: np.ndarray, photo: int) -> _Candidates:
        """P-Net over the pyramid of one photo: candidate boxes, squared."""
        height, width = sums.shape[0] - 1, sums.shape[1] - 1
        boxes, offsets, scores = [], [], []
        for scale in pyramid_scales(height, width, self.settings.min_face, self.settings.pyramid_factor):
            level = area_resize(sums, int(height * scale + 1), int(width * scale + 1))
            regression, probability = self._pnet(self._normalised(level[None]))
            probability = probability[0, 1]
            rows, columns = torch.nonzero(probability >= self.settings.thresholds[0], as_tuple=True)
            if not len(rows):
                continue
            score = probability[rows, columns]
            corner = torch.stack([columns, rows], 1).float() * _STRIDE
            box = torch.cat([((corner + 1) / scale).floor(), ((corner + _CELL) / scale).floor()], 1)
            keep = nms(box, score, 0.5)
            boxes.append(box[keep])
            offsets.append(regression[0][:, rows, columns].T[keep])
            scores.append(score[keep])
        if not boxes:
            return _no_candidates()
        box, offset, score = torch.cat(boxes), torch.cat(offsets), torch.cat(scores)
        keep = nms(box, score, 0.7)
        box, offset, score = box[keep], offset[keep], score[keep]
        side = (box[:, 2:] - box[:, :2]).repeat(1, 2)
        moved = _squared((box + offset * side).cpu().numpy())
        return _Candidates(moved, score.cpu().numpy(), np.full(len(moved), photo))

    def _refine(self, sums: list[np.ndarray], candidates: _Candidates) -> _Candidates:
        """R-Net: fewer candidates, moved closer, squared."""
        candidates, outputs = self._windows(sums, candidates, 24, self._rnet)
        if not len(candidates.boxes):
            return candidates
        offset, probability = outputs
        candidates, (offset,) = _above(candidates, probability[:, 1], self.settings.thresholds[1], (offset,))
        keep = batched_nms(
            torch.from_numpy(candidates.boxes), torch.from_numpy(candidates.scores),
            torch.from_numpy(candidates.photo), 0.7,
        ).numpy()  # fmt: skip
        keep = keep[np.argsort(candidates.photo[keep], kind="stable")]
        candidates, offset = candidates.take(keep), offset[keep]
        return _Candidates(
            _squared(_regressed(candidates.boxes, offset)), candidates.scores, candidates.photo
        )

    def _output(self, sums: list[np.ndarray], candidates: _Candidates) -> list[Detections]:
        """O-Net: the faces of each photo with their landmarks."""
        candidates, outputs = self._windows(sums, candidates, 48, self._onet)
        if not len(candidates.boxes):
            return [Detections.none() for _ in sums]
        offset, points, probability = outputs
        candidates, (offset, points) = _above(
            candidates, probability[:, 1], self.settings.thresholds[2], (offset, points)
        )
        origin = candidates.boxes[:, None, :2]
        side = candidates.boxes[:, None, 2:] - origin + 1
        landmarks = points.reshape(-1, 2, 5).transpose(0, 2, 1) * side + origin - 1
        boxes = _regressed(candidates.boxes, offset)
        detections = []
        for photo in range(len(sums)):
            mine = np.flatnonzero(candidates.photo == photo)
            mine = mine[_nms_by_smaller(boxes[mine], candidates.scores[mine], 0.7)]
            detections.append(Detections(boxes[mine], candidates.scores[mine], landmarks[mine]))
        return detections

    def _windows(self, sums, candidates, size, network):
        """Runs a network over the candidates' windows; drops those that lie outside their photo."""
        windows = [
            _clipped(candidates.boxes[candidates.photo == i], s.shape[1] - 1, s.shape[0] - 1)
            for i, s in enumerate(sums)
        ]
        # Candidates come in order of photo, and stay so.
        inside = np.concatenate([(w[:, 2] > w[:, 0]) & (w[:, 3] > w[:, 1]) for w in windows])
        candidates = candidates.take(np.flatnonzero(inside))
        outputs: list[tuple[np.ndarray, ...]] = []
        pending: list[np.ndarray] = []

        def flush(least: int) -> None:
            while pending and sum(map(len, pending)) >= least:
                joined = np.concatenate(pending)
                result = network(self._normalised(joined[:_BATCH]))
                outputs.append(tuple(r.float().cpu().numpy() for r in result))
                pending[:] = [joined[_BATCH:]] if len(joined) > _BATCH else []

        for s, boxes in zip(sums, windows, strict=True):
            boxes = boxes[(boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])]
            for begin in range(0, len(boxes), _BATCH):
                pending.append(area_crops(s, boxes[begin : begin + _BATCH], size))
                flush(_BATCH)
        flush(1)
        return candidates, [np.concatenate(parts) for parts in zip(*outputs, strict=True)]

    def _normalised(self, pixels: np.ndarray) -> torch.Tensor:
        tensor = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2)
        return (tensor - 127.5) * 0.0078125


def pyramid_scales(height: int, width: int, min_face: float, factor: float) -> list[float]:
    """Scales at which P-Net's 12-pixel window sees faces from `min_face` pixels to the whole photo."""
    scales, scale = [], _CELL / min_face
    while min(height, width) * scale >= _CELL:
        scales.append(scale)
        scale *= factor
    return scales


def _network(module: torch.nn.Module, weights: PackagedFile, device: torch.device) -> torch.nn.Module:
    state = torch.load(io.BytesIO(weights.read()), map_location="cpu", weights_only=True)
    module.load_state_dict(state)
    return module.eval().requires_grad_(False).to(device)


def _reduce(photo: np.ndarray, side: int) -> np.ndarray:
    height, width = photo.shape[:2]
    if max(height, width) <= side:
        return photo
    factor = side / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BOX))


def _no_candidates() -> _Candidates:
    return _Candidates(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))


def _concatenate(parts: list[_Candidates]) -> _Candidates:
    parts = parts or [_no_candidates()]
    return _Candidates(
        np.concatenate([p.boxes for p in parts]),
        np.concatenate([p.scores for p in parts]),
        np.concatenate([p.photo for p in parts]),
    )


def _above(candidates, probability, threshold, others):
    """Candidates whose probability passes, with it as their score, in order of photo."""
    keep = np.flatnonzero(probability > threshold)
    kept = _Candidates(candidates.boxes[keep], probability[keep], candidates.photo[keep])
    return kept, tuple(other[keep] for other in others)


def _squared(boxes: np.ndarray) -> np.ndarray:
    """Boxes grown around their middle to squares."""
    size = boxes[:, 2:] - boxes[:, :2]
    side = size.max(axis=1, keepdims=True)
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


def _nms_by_smaller(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Non-maximum suppression by the overlap's share of the smaller box, best score first.

    O-Net's last step: a face inside another's box is dropped even where their union is large.
    """
    order = np.argsort(-scores, kind="stable")
    areas = (boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1)
    keep = []
    while len(order):
        best, rest = order[0], order[1:]
        keep.append(best)
        low = np.maximum(boxes[best, :2], boxes[rest, :2])
        high = np.minimum(boxes[best, 2:], boxes[rest, 2:])
        overlap = np.prod(np.maximum(0, high - low + 1), axis=1)
        order = rest[overlap / np.minimum(areas[best], areas[rest]) <= threshold]
    return np.array(keep, np.int64)
