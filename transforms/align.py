"""Aligned crops: the pixels of a face as a network wants them, and as a person looks at them."""

from __future__ import annotations

import io
import math

import numpy as np
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
    region, matrix = _region(photo, matrix, size)
    scale = math.sqrt(abs(np.linalg.det(matrix[:, :2])))
    factor = int(scale)
    if factor > 1:
        # A last column or row that is not full would be averaged over fewer pixels, but reduce()
        # counts it as a full one in the result's coordinates: exact but for the last pixel.
        region = np.asarray(Image.fromarray(region).reduce(factor))
        matrix = matrix / factor
    return affine(region, matrix, size)


def _region(photo: np.ndarray, matrix: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The photo's part that a crop needs, its edge repeated outside, and the matrix into it."""
    corners = matrix @ np.array([[0, size, 0, size], [0, 0, size, size], [1, 1, 1, 1]], np.float64)
    margin = 3 + int(math.sqrt(abs(np.linalg.det(matrix[:, :2])))) * 3
    low = np.floor(corners.min(axis=1)).astype(int) - margin
    high = np.ceil(corners.max(axis=1)).astype(int) + margin
    height, width = photo.shape[:2]
    x0, y0 = (int(np.clip(low[i], 0, n - 1)) for i, n in ((0, width), (1, height)))
    x1, y1 = (int(np.clip(high[i], 1, n)) for i, n in ((0, width), (1, height)))
    x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)
    region = photo[y0:y1, x0:x1]
    outside = [
        (max(0, y0 - low[1]), max(0, high[1] - y1)),
        (max(0, x0 - low[0]), max(0, high[0] - x1)),
        (0, 0),
    ]
    shifted = matrix.copy()
    if any(sum(pair) for pair in outside):
        region = np.pad(region, outside, mode="edge")
        x0, y0 = x0 - outside[1][0], y0 - outside[0][0]
    shifted[:, 2] -= (x0, y0)
    return np.ascontiguousarray(region), shifted


def thumbnail(photo: np.ndarray, box: np.ndarray) -> bytes:
    """A JPEG of some 112 × 112 pixels with the face in natural proportions and a little around it."""
    x0, y0, x1, y1 = np.asarray(box, np.float64)
    side = max(x1 - x0, y1 - y0) / _THUMB_SHARE
    scale = side / THUMB_SIZE
    matrix = np.array([[scale, 0, (x0 + x1 - side) / 2], [0, scale, (y0 + y1 - side) / 2]])
    buffer = io.BytesIO()
    Image.fromarray(warp(photo, matrix, THUMB_SIZE)).save(buffer, "JPEG", quality=82)
    return buffer.getvalue()


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
