"""Pixels under an affine map, by bicubic interpolation (Keys 1981) with Pillow's kernel, a = −1."""

from __future__ import annotations

import numpy as np

from models.jit import compiled


def affine(photo: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """uint8[size, size, 3] of `photo`, uint8[h, w, 3]: the pixel (x, y) of the result shows the photo at
    `matrix`, float64[2, 3], times (x, y, 1), both counted from corners of pixels. Outside of the photo
    its edge repeats."""
    out = np.empty((size, size, 3), np.uint8)
    _affine(
        photo.astype(np.float32).reshape(-1), photo.shape[1], np.ascontiguousarray(matrix, np.float64), out
    )
    return out


@compiled
def _affine(values, width, matrix, out):
    # A row of the result at a time, tap by tap: loops without branches, which become vector code.
    height, size = len(values) // (3 * width), out.shape[1]
    columns, rows = np.empty((4, size), np.uint32), np.empty((4, size), np.uint32)
    across, down = np.empty((4, size), np.float32), np.empty((4, size), np.float32)
    left, top = np.empty(size, np.int32), np.empty(size, np.int32)
    place, weight = np.empty(size, np.uint32), np.empty(size, np.float32)
    red, green, blue = np.empty(size, np.float32), np.empty(size, np.float32), np.empty(size, np.float32)
    half, first, second = np.float32(0.5), np.uint32(1), np.uint32(2)
    one, two = np.float32(1), np.float32(2)
    for i in range(out.shape[0]):
        for j in range(size):
            x = np.float32(matrix[0, 0] * (j + 0.5) + matrix[0, 1] * (i + 0.5) + matrix[0, 2] - 0.5)
            y = np.float32(matrix[1, 0] * (j + 0.5) + matrix[1, 1] * (i + 0.5) + matrix[1, 2] - 0.5)
            left[j], top[j] = np.int32(np.floor(x)), np.int32(np.floor(y))
            u, v = x - np.float32(left[j]), y - np.float32(top[j])
            across[0, j], down[0, j] = -u + two * u * u - u * u * u, -v + two * v * v - v * v * v
            across[1, j], down[1, j] = one - two * u * u + u * u * u, one - two * v * v + v * v * v
            across[2, j], down[2, j] = u + u * u - u * u * u, v + v * v - v * v * v
            across[3, j], down[3, j] = -u * u + u * u * u, -v * v + v * v * v
        for k in range(4):
            for j in range(size):
                columns[k, j] = 3 * min(max(left[j] + (k - 1), 0), width - 1)
                rows[k, j] = 3 * width * min(max(top[j] + (k - 1), 0), height - 1)
        red[:], green[:], blue[:] = half, half, half
        for m in range(4):
            for k in range(4):
                for j in range(size):
                    place[j] = rows[m, j] + columns[k, j]
                    weight[j] = down[m, j] * across[k, j]
                for j in range(size):
                    red[j] += weight[j] * values[place[j]]
                for j in range(size):
                    green[j] += weight[j] * values[place[j] + first]
                for j in range(size):
                    blue[j] += weight[j] * values[place[j] + second]
        for j in range(size):
            out[i, j, 0] = np.uint8(min(max(red[j], np.float32(0)), np.float32(255)))
            out[i, j, 1] = np.uint8(min(max(green[j], np.float32(0)), np.float32(255)))
            out[i, j, 2] = np.uint8(min(max(blue[j], np.float32(0)), np.float32(255)))
