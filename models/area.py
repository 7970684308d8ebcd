"""Area resampling: the pyramid that MTCNN searches, its windows, and photos at the working size.

MTCNN looks at each photo at some ten scales and at hundreds of small windows. The bins of its
pyramid and windows are those of adaptive average pooling, as in facenet-pytorch
(``torch.nn.functional.interpolate(mode="area")``): bin i of n over a length covers the pixels
floor(i·length/n) to ceil((i+1)·length/n). Each row of bins first adds up whole rows of pixels, which
runs along memory, and then the columns of that one sum.
"""

from __future__ import annotations

import numpy as np

from models.jit import compiled

# MTCNN's networks take (x − 127.5) / 128.
_MIDDLE, _UNIT = np.float32(127.5), np.float32(0.0078125)


def pyramid_level(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """`image`, uint8[h, w, 3], resized and normalised for MTCNN: float32[3, height', width'].

    height' and width' are even: a last odd row or column is repeated.
    """
    level = np.empty((3, height + height % 2, width + width % 2), np.float32)
    _resize(image, 0, 0, image.shape[1], image.shape[0], level[:, :height, :width])
    level[:, height:, :] = level[:, height - 1 : height, :]
    level[:, :, width:] = level[:, :, width - 1 : width]
    return level


def windows(image: np.ndarray, boxes: np.ndarray, out: np.ndarray) -> None:
    """Resizes parts of `image`, uint8[h, w, 3], into `out`, float32[n, 3, size, size], normalised.

    `boxes` is int64[n, 4] (x0, y0, x1, y1), inside the image, x1 > x0 and y1 > y0.
    """
    _windows(image, boxes, out)


@compiled
def _resize(image, x0, y0, x1, y1, out):
    height, width = out.shape[1], out.shape[2]
    rows, columns = y1 - y0, x1 - x0
    sums = np.empty(columns * 3, np.int32)
    lefts, rights = np.empty(width, np.int64), np.empty(width, np.int64)
    for j in range(width):
        lefts[j], rights[j] = 3 * (j * columns // width), 3 * (((j + 1) * columns + width - 1) // width)
    flat = image.reshape(image.shape[0], image.shape[1] * 3)
    for i in range(height):
        top, bottom = y0 + i * rows // height, y0 + ((i + 1) * rows + height - 1) // height
        line = flat[top, x0 * 3 : x1 * 3]
        for x in range(columns * 3):
            sums[x] = line[x]
        for y in range(top + 1, bottom):
            line = flat[y, x0 * 3 : x1 * 3]
            for x in range(columns * 3):
                sums[x] += line[x]
        for j in range(width):
            red, green, blue = np.int64(0), np.int64(0), np.int64(0)
            for x in range(lefts[j], rights[j], 3):
                red += sums[x]
                green += sums[x + 1]
                blue += sums[x + 2]
            scale = _UNIT * np.float32(3) / np.float32((bottom - top) * (rights[j] - lefts[j]))
            out[0, i, j] = np.float32(red) * scale - _MIDDLE * _UNIT
            out[1, i, j] = np.float32(green) * scale - _MIDDLE * _UNIT
            out[2, i, j] = np.float32(blue) * scale - _MIDDLE * _UNIT


@compiled
def _windows(image, boxes, out):
    for k in range(len(boxes)):
        _resize(image, boxes[k, 0], boxes[k, 1], boxes[k, 2], boxes[k, 3], out[k])


def reduced(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """`image`, uint8[h, w, 3], averaged to uint8[height, width, 3], neither side larger than before.

    Every pixel counts by the part of it that lies in a bin.
    """
    if image.shape[:2] == (height, width):
        return image
    out = np.empty((height, width, 3), np.uint8)
    index, share = _taps(image.shape[1], width)
    _reduce(np.ascontiguousarray(image), index, share, out)
    return out


def _taps(length: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """For bins of a row of RGB pixels: which values each of the 3·count results is made of, and by
    how much of each, uint32 and float32[k, 3·count]."""
    wide = length / count
    left = np.arange(count) * wide
    right = np.minimum(left + wide, length)
    pixel = np.floor(left).astype(np.int64) + np.arange(int(np.ceil(wide)) + 1)[:, None]
    share = np.clip(np.minimum(right, pixel + 1) - np.maximum(left, pixel), 0, None) / wide
    index = np.minimum(pixel, length - 1)[:, :, None] * 3 + np.arange(3)
    return (
        index.reshape(len(pixel), -1).astype(np.uint32),
        np.repeat(share, 3, axis=1).astype(np.float32),
    )


@compiled
def _reduce(image, index, share, out):
    rows, columns = image.shape[0], image.shape[1]
    height, values = out.shape[0], index.shape[1]
    high = rows / height
    flat, result = image.reshape(rows, columns * 3), out.reshape(height, values)
    sums, totals = np.empty(columns * 3, np.float32), np.empty(values, np.float32)
    for i in range(height):
        top, bottom = i * high, min((i + 1) * high, float(rows))
        sums[:] = 0
        for y in range(int(top), min(int(np.ceil(bottom)), rows)):
            part = np.float32((min(bottom, y + 1.0) - max(top, float(y))) / high)
            line = flat[y]
            for x in range(columns * 3):
                sums[x] += part * np.float32(line[x])
        totals[:] = np.float32(0.5)
        for k in range(index.shape[0]):
            for x in range(values):
                totals[x] += share[k, x] * sums[index[k, x]]
        for x in range(values):
            result[i, x] = np.uint8(min(totals[x], np.float32(255)))
