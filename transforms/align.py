"""Aligned crops: the pixels of a face as a network wants them, and as a person looks at them."""

from __future__ import annotations

import math

import numpy as np
import simplejpeg
from PIL import Image

from models.jit import compiled
from transforms.warping import affine

# A photo is never decoded larger than this for the sake of a small face's crop.
CROP_PIXELS = 64_000_000
THUMB_SIZE = 112
_THUMB_SHARE = 0.7  # the box's part of a thumbnail's side


def side_for_crops(width: int, height: int, boxes: np.ndarray, *, size: int) -> int:
    """The longer side to ask `decode.read_photo` for, so that a photo of `width` by `height` pixels has
    enough of them for crops of `size` pixels of all `boxes`, float32[n, 4] in its pixels.

    Never so long that the photo would come with more than `CROP_PIXELS`. It comes no smaller than asked
    for, and JPEG reduced by powers of two alone: so the side is divided by the first that is enough.
    """
    longer = max(width, height)
    smallest = float(np.min(np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])))
    wanted = int(longer * min(1.0, size / max(smallest, 1.0)))
    divisor = 1
    while -(-width // divisor) * -(-height // divisor) > CROP_PIXELS:
        divisor *= 2
    return max(1, min(wanted, longer // divisor))


def warp(photo: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """uint8[size, size, 3]: the part of `photo`, uint8[h, w, 3], that `matrix` maps a crop to.

    `matrix` is float64[2, 3] from crop pixels to photo pixels. Where the crop is smaller than its
    part of the photo, pixels are averaged first, so that fine texture does not alias. Pixels
    outside of the photo repeat its edge.
    """
    factor = int(_scale(matrix))
    if factor > 1:
        part, corner = _shown(photo, matrix, size, margin=3 * (1 + factor))
        # A last column or row that is not full would be averaged over fewer pixels, but reduce()
        # counts it as a full one in the result's coordinates: exact but for the last pixel.
        photo = np.asarray(Image.fromarray(part).reduce(factor))
        matrix = np.column_stack([matrix[:, :2], matrix[:, 2] - corner]) / factor
    return affine(photo, matrix, size)


def _scale(matrix: np.ndarray) -> float:
    """How many of the photo's pixels a pixel of the crop is wide."""
    (a, b), (c, d) = matrix[:, :2].tolist()
    return math.sqrt(abs(a * d - b * c))


def _shown(
    photo: np.ndarray, matrix: np.ndarray, size: int, *, margin: int
) -> tuple[np.ndarray, tuple[int, int]]:
    """The photo's part that a crop shows, with a margin in pixels and the edge repeated outside; and its
    corner (x, y)."""
    corners = matrix @ np.array([[0, size, 0, size], [0, 0, size, size], [1, 1, 1, 1]], np.float64)
    low = np.floor(corners.min(axis=1)).astype(int) - margin
    high = np.ceil(corners.max(axis=1)).astype(int) + margin
    limits = np.array([photo.shape[1], photo.shape[0]])
    x0, y0 = inner_low = np.clip(low, 0, limits - 1)
    x1, y1 = inner_high = np.maximum(np.clip(high, 1, limits), inner_low + 1)
    part = photo[y0:y1, x0:x1]
    before, after = np.maximum(inner_low - low, 0), np.maximum(high - inner_high, 0)
    if before.any() or after.any():
        part = np.pad(part, ((before[1], after[1]), (before[0], after[0]), (0, 0)), mode="edge")
    corner = inner_low - before
    return np.ascontiguousarray(part), (int(corner[0]), int(corner[1]))


def thumbnail(photo: np.ndarray, box: np.ndarray) -> bytes:
    """A JPEG of some 112 × 112 pixels with the face in natural proportions and a little around it."""
    x0, y0, x1, y1 = np.asarray(box, np.float64).tolist()
    side = max(x1 - x0, y1 - y0) / _THUMB_SHARE
    scale = side / THUMB_SIZE
    matrix = np.array([[scale, 0, (x0 + x1 - side) / 2], [0, scale, (y0 + y1 - side) / 2]])
    pixels = warp(photo, matrix, THUMB_SIZE)
    return simplejpeg.encode_jpeg(pixels, quality=82, colorsubsampling="420")


def sharpness(crop: np.ndarray) -> float:
    """How much fine detail an aligned crop, uint8[size, size, 3], has: the mean absolute Laplacian
    over the middle half, by its standard deviation so that contrast does not count. About 0.1 for
    a blurred face, 0.5 and more for a sharp one."""
    quarter = crop.shape[0] // 4
    return float(_detail(crop[quarter:-quarter, quarter:-quarter]))


@compiled
def _detail(crop):
    height, width = crop.shape[0], crop.shape[1]
    grey = np.empty((height, width), np.float32)
    total = squares = detail = 0.0
    for y in range(height):
        for x in range(width):
            value = (float(crop[y, x, 0]) + float(crop[y, x, 1]) + float(crop[y, x, 2])) / 3
            grey[y, x] = value
            total += value
            squares += value * value
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            around = grey[y - 1, x] + grey[y + 1, x] + grey[y, x - 1] + grey[y, x + 1]
            detail += abs(4 * grey[y, x] - around)
    mean = total / (height * width)
    spread = math.sqrt(max(squares / (height * width) - mean * mean, 0.0))
    return detail / ((height - 2) * (width - 2)) / max(spread, 1.0)
