"""Area resampling: the pyramid that MTCNN searches, its windows, and photos at the working size.

MTCNN looks at each photo at some ten scales and at hundreds of small windows. The bins of its
pyramid and windows are those of adaptive average pooling, as in facenet-pytorch
(``torch.nn.functional.interpolate(mode="area")``): bin i of n over a length covers the pixels
floor(i·length/n) to ceil((i+1)·length/n). All of them are read from one summed-area table a photo
(Crow 1984), so that what a window costs does not depend on how many pixels it shows.
"""

from __future__ import annotations

import numpy as np

from models.jit import compiled

# MTCNN's networks take (x − 127.5) / 128.
_MIDDLE, _UNIT = np.float32(127.5), np.float32(0.0078125)


def summed_area(image: np.ndarray) -> np.ndarray:
    """The table of `image`, uint8[h, w, 3]: uint32[h + 1, 3, w + 1], at [y, c, x] the sum of what lies above
    y and left of x, modulo 2³². The sum over a rectangle of up to 16 million pixels comes out right."""
    height, width = image.shape[:2]
    table = np.empty((height + 1, 3, width + 1), np.uint32)
    _sum(np.ascontiguousarray(image), table)
    return table


def level_part(
    table: np.ndarray,
    size: tuple[int, int],
    part: tuple[int, int, int, int],
    out: np.ndarray,
    place: tuple[int, int, int],
) -> None:
    """A part of the image resized to `size` (height, width), normalised, into `out`, float32[n, 3, h, w].

    `part` is (y, x, height, width), `place` in `out` (number, y, x). Beyond its last row and column the
    level repeats them.
    """
    _level_part(table, size, part, out, place)


def windows(table: np.ndarray, boxes: np.ndarray, out: np.ndarray) -> None:
    """Resizes parts of the image with the `table` into `out`, float32[n, 3, size, size], normalised.

    `boxes` is int64[n, 4] (x0, y0, x1, y1), inside the image, x1 > x0 and y1 > y0.
    """
    _windows(table, boxes, out)


@compiled
def _sum(image, table):
    height, width = image.shape[0], image.shape[1]
    flat = image.reshape(height, width * 3)
    columns = np.zeros(width * 3, np.uint32)
    table[0] = 0
    for y in range(height):
        line = flat[y]
        for x in range(width * 3):
            columns[x] += np.uint32(line[x])
        reds, greens, blues = table[y + 1, 0], table[y + 1, 1], table[y + 1, 2]
        red, green, blue = np.uint32(0), np.uint32(0), np.uint32(0)
        reds[0] = greens[0] = blues[0] = 0
        for x in range(width):
            red += columns[3 * x]
            green += columns[3 * x + 1]
            blue += columns[3 * x + 2]
            reds[x + 1], greens[x + 1], blues[x + 1] = red, green, blue


@compiled
def _level_part(table, size, part, out, place):
    _resize(table, (0, 0, table.shape[2] - 1, table.shape[0] - 1), size, part, out, place)


@compiled
def _windows(table, boxes, out):
    size = out.shape[2]
    for k in range(len(boxes)):
        box = (boxes[k, 0], boxes[k, 1], boxes[k, 2], boxes[k, 3])
        _resize(table, box, (size, size), (0, 0, size, size), out, (k, 0, 0))


@compiled
def _resize(table, box, size, part, out, place):
    """Bins of `box` (x0, y0, x1, y1) cut into `size`: those of a `part`, into a `place`."""
    x0, y0, rows, columns = box[0], box[1], box[3] - box[1], box[2] - box[0]
    height, width = size
    lefts, rights = np.empty(part[3], np.uint32), np.empty(part[3], np.uint32)
    # Bins cover whole pixels: of rows they have `least` or one or two more.
    least = max(rows // height, 1)
    scale = np.empty((3, part[3]), np.float32)
    first = x0 + min(part[1], width - 1) * columns // width
    for j in range(part[3]):
        column = min(part[1] + j, width - 1)
        left, right = column * columns // width, ((column + 1) * columns + width - 1) // width
        lefts[j], rights[j] = x0 + left - first, x0 + right - first
        for more in range(3):
            scale[more, j] = _UNIT / np.float32((least + more) * (right - left))
    sums = np.empty(rights[-1] + 1, np.uint32)
    for i in range(part[2]):
        row = min(part[0] + i, height - 1)
        top, bottom = row * rows // height, ((row + 1) * rows + height - 1) // height
        share = scale[bottom - top - least]
        for colour in range(3):
            above, below = table[y0 + top, colour, first:], table[y0 + bottom, colour, first:]
            line = out[place[0], colour, place[1] + i, place[2] : place[2] + part[3]]
            for x in range(len(sums)):
                sums[x] = below[x] - above[x]
            for j in range(len(line)):
                line[j] = np.float32(sums[rights[j]] - sums[lefts[j]]) * share[j] - _MIDDLE * _UNIT


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
