"""A face as an experiment shows it to the network: mirrored, compressed, shrunk, cut without a detector."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from models.crop import CropGeometry
from transforms.align import warp

# Where LFW's faces lie in its photos, as shares of width and height: the middle and the median size of the
# boxes that MTCNN finds for the learning half of its people (93.0 × 124.0 px of 250 around (124.6, 126.5)).
LFW_BOX = (0.312, 0.258, 0.684, 0.754)
_MARGIN = 16


@dataclass(frozen=True)
class FaceView:
    """What is done to a face before it is embedded.

    `flip`: its mirror image. `centre_crop`: a fixed part of the photo, the same for all photos, instead of
    the detected face. `jpeg_quality`: compressed at this quality, 1 to 95. `pixels`: shrunk until the
    crop's part of the photo has at most so many pixels.
    """

    flip: bool = False
    centre_crop: bool = False
    jpeg_quality: int | None = None
    pixels: int | None = None

    @property
    def name(self) -> str:
        """A name for files, different for different views."""
        parts = ["centre"] if self.centre_crop else []
        parts += [f"q{self.jpeg_quality}"] if self.jpeg_quality else []
        parts += [f"px{self.pixels}"] if self.pixels else []
        return "-".join(parts + (["flip"] if self.flip else [])) or "plain"


def view_crop(
    photo: np.ndarray,
    view: FaceView,
    *,
    box: np.ndarray,
    landmarks: np.ndarray,
    geometry: CropGeometry,
    size: int,
) -> np.ndarray:
    """uint8[size, size, 3]: the crop of a face in uint8[h, w, 3] `photo`, as `view` has it."""
    if view.centre_crop:
        box, landmarks = fixed_face(photo.shape[1], photo.shape[0])
    matrix = geometry.matrix(box, landmarks, size)
    if view.jpeg_quality or view.pixels:
        photo, matrix = _around(photo, matrix, size)
        if view.pixels:
            photo, matrix = _shrunk(photo, matrix, math.sqrt(view.pixels / crop_pixels(matrix, size)))
        if view.jpeg_quality:
            photo = recompressed(photo, view.jpeg_quality)
    crop = warp(photo, matrix, size)
    return crop[:, ::-1] if view.flip else crop


def crop_pixels(matrix: np.ndarray, size: int) -> float:
    """How many pixels of the photo a crop shows: what the paper's table 4 calls the image's size."""
    return abs(float(np.linalg.det(matrix[:, :2]))) * size * size


def fixed_face(width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """The box float32[4] and upright landmarks float32[5, 2] where LFW's photos have their face."""
    scale = np.array([width, height], np.float32)
    box = np.array(LFW_BOX, np.float32).reshape(2, 2) * scale
    shares = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.33, 0.78], [0.67, 0.78]], np.float32)
    return box.reshape(4), box[0] + shares * (box[1] - box[0])


def recompressed(pixels: np.ndarray, quality: int) -> np.ndarray:
    """uint8[h, w, 3] pixels after a JPEG file of `quality`."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


def _around(photo: np.ndarray, matrix: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The photo's part that a crop shows, and a little more, and the matrix into that part."""
    corners = matrix @ np.array([[0, size, 0, size], [0, 0, size, size], [1, 1, 1, 1]], np.float64)
    height, width = photo.shape[:2]
    x0, y0 = (max(0, int(v) - _MARGIN) for v in corners.min(axis=1))
    x1, y1 = (min(n, int(v) + _MARGIN) for v, n in zip(corners.max(axis=1), (width, height), strict=True))
    if x1 - x0 < 1 or y1 - y0 < 1:  # a crop beside the photo shows its edge
        return photo, matrix
    moved = matrix.copy()
    moved[:, 2] -= (x0, y0)
    return np.ascontiguousarray(photo[y0:y1, x0:x1]), moved


def _shrunk(photo: np.ndarray, matrix: np.ndarray, factor: float) -> tuple[np.ndarray, np.ndarray]:
    if factor >= 1:
        return photo, matrix
    height, width = photo.shape[:2]
    small = max(1, round(width * factor)), max(1, round(height * factor))
    image = Image.fromarray(photo).resize(small, Image.Resampling.LANCZOS)
    return np.asarray(image), matrix * np.array([[small[0] / width], [small[1] / height]])
