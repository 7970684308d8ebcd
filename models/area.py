"""Exact area resampling by integral images (summed-area tables, Crow 1984).

MTCNN looks at each photo at some ten scales and at hundreds of small windows. Each of these is a
mean over rectangles of pixels, and with the running sums of the photo at hand a mean over any
rectangle costs four look-ups, whatever its size. The bins are those of adaptive average pooling
(``torch.nn.functional.interpolate(mode="area")``): bin i of n over a length covers the pixels
floor(i·length/n) to ceil((i+1)·length/n), so the results are the same up to rounding.
"""

from __future__ import annotations

import numpy as np

_INT32_LIMIT = (2**31 - 1) // 255


def integral_image(image: np.ndarray) -> np.ndarray:
    """Running sums of uint8[h, w, c]: int32 or int64[h + 1, w + 1, c] with a zero first row and column."""
    height, width, channels = image.shape
    dtype = np.int32 if height * width <= _INT32_LIMIT else np.int64
    sums = np.zeros((height + 1, width + 1, channels), dtype)
    np.cumsum(image, axis=0, dtype=dtype, out=sums[1:, 1:])
    np.cumsum(sums[1:, 1:], axis=1, out=sums[1:, 1:])
    return sums


def _edges(length: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    steps = np.arange(count)
    return steps * length // count, -((steps + 1) * length // -count)


def area_resize(sums: np.ndarray, height: int, width: int) -> np.ndarray:
    """The image behind `sums` resized to float32[height, width, c], values 0 to 255."""
    top, bottom = _edges(sums.shape[0] - 1, height)
    left, right = _edges(sums.shape[1] - 1, width)
    rows = sums[bottom] - sums[top]
    totals = (rows[:, right] - rows[:, left]).astype(np.float32)
    areas = ((bottom - top)[:, None] * (right - left)[None, :]).astype(np.float32)
    return totals / areas[..., None]


def area_crops(sums: np.ndarray, boxes: np.ndarray, size: int) -> np.ndarray:
    """Windows of the image resized to squares: float32[n, size, size, c], values 0 to 255.

    `boxes` is int[n, 4] (x0, y0, x1, y1), inside the image, x1 > x0 and y1 > y0.
    """
    x0, y0, x1, y1 = (boxes[:, i, None].astype(np.int64) for i in range(4))
    steps = np.arange(size)[None, :]
    left, right = x0 + steps * (x1 - x0) // size, x0 - ((steps + 1) * (x1 - x0) // -size)
    top, bottom = y0 + steps * (y1 - y0) // size, y0 - ((steps + 1) * (y1 - y0) // -size)
    stride = sums.shape[1]
    flat = sums.reshape(-1, sums.shape[2])

    def corner(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        return flat[rows[:, :, None] * stride + columns[:, None, :]]

    totals = corner(bottom, right) - corner(top, right) - corner(bottom, left) + corner(top, left)
    areas = (bottom - top)[:, :, None] * (right - left)[:, None, :]
    return totals.astype(np.float32) / areas[..., None].astype(np.float32)
