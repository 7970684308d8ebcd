"""Pixels under an affine map, by bicubic interpolation (Keys 1981) with Pillow's kernel, a = −1."""

from __future__ import annotations

import numpy as np

from models.jit import compiled


def affine(photo: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """uint8[size, size, 3] of `photo`, uint8[h, w, 3]: the pixel (x, y) of the result shows the photo at
    `matrix`, float64[2, 3], times (x, y, 1), both counted from corners of pixels. Outside of the photo
    its edge repeats."""
    out = np.empty((size, size, 3), np.uint8)
    _affine(photo, np.ascontiguousarray(matrix, np.float64), out)
    return out


@compiled
def _affine(photo, matrix, out):
    # A row of the result at a time: loops without branches, which become vector code. Only fetching pixels
    # from where they lie does not, so their three bytes are packed into one number, and the four of a row
    # are fetched at once.
    size = out.shape[1]
    x0, y0, x1, y1 = _touched(matrix, size)
    pixels = _packed(photo, x0, y0, x1, y1)
    wide = x1 - x0
    across, down = np.empty((4, size), np.float32), np.empty((4, size), np.float32)
    place, pixel = np.empty(size, np.uint32), np.empty((4, size), np.uint32)
    sums, values = np.empty((3, size), np.float32), np.empty((3, size), np.uint8)
    half, one, two = np.float32(0.5), np.float32(1), np.float32(2)
    byte, second, third = np.uint32(255), np.uint32(8), np.uint32(16)
    p0, p1, p2, p3 = pixel[0], pixel[1], pixel[2], pixel[3]
    a0, a1, a2, a3 = across[0], across[1], across[2], across[3]
    red, green, blue = sums[0], sums[1], sums[2]
    for i in range(out.shape[0]):
        for j in range(size):
            x = np.float32(matrix[0, 0] * (j + 0.5) + matrix[0, 1] * (i + 0.5) + matrix[0, 2] - 0.5 - x0)
            y = np.float32(matrix[1, 0] * (j + 0.5) + matrix[1, 1] * (i + 0.5) + matrix[1, 2] - 0.5 - y0)
            left, top = np.int32(np.floor(x)), np.int32(np.floor(y))
            u, v = x - np.float32(left), y - np.float32(top)
            place[j] = np.uint32((top - 1) * wide + left - 1)
            across[0, j], down[0, j] = -u + two * u * u - u * u * u, -v + two * v * v - v * v * v
            across[1, j], down[1, j] = one - two * u * u + u * u * u, one - two * v * v + v * v * v
            across[2, j], down[2, j] = u + u * u - u * u * u, v + v * v - v * v * v
            across[3, j], down[3, j] = -u * u + u * u * u, -v * v + v * v * v
        sums[:] = half
        for m in range(4):
            for j in range(size):
                first = place[j] + np.uint32(m * wide)
                p0[j], p1[j] = pixels[first], pixels[first + np.uint32(1)]
                p2[j], p3[j] = pixels[first + np.uint32(2)], pixels[first + np.uint32(3)]
            weight = down[m]
            for j in range(size):
                w0, w1, w2, w3 = weight[j] * a0[j], weight[j] * a1[j], weight[j] * a2[j], weight[j] * a3[j]
                q0, q1, q2, q3 = p0[j], p1[j], p2[j], p3[j]
                red[j] += (
                    w0 * np.float32(np.int32(q0 & byte))
                    + w1 * np.float32(np.int32(q1 & byte))
                    + w2 * np.float32(np.int32(q2 & byte))
                    + w3 * np.float32(np.int32(q3 & byte))
                )
                green[j] += (
                    w0 * np.float32(np.int32((q0 >> second) & byte))
                    + w1 * np.float32(np.int32((q1 >> second) & byte))
                    + w2 * np.float32(np.int32((q2 >> second) & byte))
                    + w3 * np.float32(np.int32((q3 >> second) & byte))
                )
                blue[j] += (
                    w0 * np.float32(np.int32(q0 >> third))
                    + w1 * np.float32(np.int32(q1 >> third))
                    + w2 * np.float32(np.int32(q2 >> third))
                    + w3 * np.float32(np.int32(q3 >> third))
                )
        for colour in range(3):
            line = sums[colour]
            for j in range(size):
                values[colour, j] = np.uint8(np.int32(min(max(line[j], np.float32(0)), np.float32(255))))
        for j in range(size):
            out[i, j, 0], out[i, j, 1], out[i, j, 2] = values[0, j], values[1, j], values[2, j]


@compiled
def _touched(matrix, size):
    """The part of the photo that the result is made of, and a pixel more: x0, y0, x1, y1, which may lie
    outside of it."""
    low, high = np.empty(2, np.int64), np.empty(2, np.int64)
    for k in range(2):
        span_x, span_y = matrix[k, 0] * (size - 1), matrix[k, 1] * (size - 1)
        start = (matrix[k, 0] + matrix[k, 1]) * 0.5 + matrix[k, 2] - 0.5
        low[k] = int(np.floor(start + min(span_x, 0.0) + min(span_y, 0.0))) - 2
        high[k] = int(np.floor(start + max(span_x, 0.0) + max(span_y, 0.0))) + 4
    return low[0], low[1], high[0], high[1]


@compiled
def _packed(photo, x0, y0, x1, y1):
    """uint32[n]: red, green and blue from the lowest byte up, row by row, the photo's edge repeated."""
    height, width = photo.shape[0], photo.shape[1]
    pixels = np.empty((y1 - y0, x1 - x0), np.uint32)
    for y in range(y1 - y0):
        line, row = photo[min(max(y0 + y, 0), height - 1)], pixels[y]
        for x in range(max(0, -x0), min(x1, width) - x0):
            row[x] = _pixel(line, x0 + x)
        for x in range(min(max(0, -x0), x1 - x0)):
            row[x] = _pixel(line, 0)
        for x in range(max(0, width - x0), x1 - x0):
            row[x] = _pixel(line, width - 1)
    return pixels.reshape(-1)


@compiled
def _pixel(line, x):
    green, blue = np.uint32(line[x, 1]) << np.uint32(8), np.uint32(line[x, 2]) << np.uint32(16)
    return np.uint32(line[x, 0]) | green | blue
