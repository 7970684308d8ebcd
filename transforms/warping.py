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
    # A row of the result at a time, tap by tap: loops without branches, which become vector code. Only
    # fetching pixels from where they lie does not, so their three bytes are packed into one number.
    height, width, size = photo.shape[0], photo.shape[1], out.shape[1]
    pixels = _packed(photo)
    columns, rows = np.empty((4, size), np.int32), np.empty((4, size), np.int32)
    across, down = np.empty((4, size), np.float32), np.empty((4, size), np.float32)
    left, top = np.empty(size, np.int32), np.empty(size, np.int32)
    place, pixel = np.empty(size, np.uint32), np.empty(size, np.uint32)
    red, green, blue = np.empty(size, np.float32), np.empty(size, np.float32), np.empty(size, np.float32)
    half, one, two = np.float32(0.5), np.float32(1), np.float32(2)
    byte, second, third = np.uint32(255), np.uint32(8), np.uint32(16)
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
                columns[k, j] = min(max(left[j] + (k - 1), 0), width - 1)
                rows[k, j] = width * min(max(top[j] + (k - 1), 0), height - 1)
        red[:], green[:], blue[:] = half, half, half
        for m in range(4):
            for k in range(4):
                for j in range(size):
                    place[j] = np.uint32(rows[m, j] + columns[k, j])
                for j in range(size):
                    pixel[j] = pixels[place[j]]
                for j in range(size):
                    weight = down[m, j] * across[k, j]
                    red[j] += weight * np.float32(np.int32(pixel[j] & byte))
                    green[j] += weight * np.float32(np.int32((pixel[j] >> second) & byte))
                    blue[j] += weight * np.float32(np.int32(pixel[j] >> third))
        for j in range(size):
            out[i, j, 0] = np.uint8(min(max(red[j], np.float32(0)), np.float32(255)))
            out[i, j, 1] = np.uint8(min(max(green[j], np.float32(0)), np.float32(255)))
            out[i, j, 2] = np.uint8(min(max(blue[j], np.float32(0)), np.float32(255)))


@compiled
def _packed(photo):
    """uint32[h * w]: red, green and blue from the lowest byte up."""
    height, width = photo.shape[0], photo.shape[1]
    pixels = np.empty(height * width, np.uint32)
    for y in range(height):
        for x in range(width):
            green, blue = (
                np.uint32(photo[y, x, 1]) << np.uint32(8),
                np.uint32(photo[y, x, 2]) << np.uint32(16),
            )
            pixels[y * width + x] = np.uint32(photo[y, x, 0]) | green | blue
    return pixels
