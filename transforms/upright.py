"""Photos the right way up: EXIF's eight orientations applied to pixels.

Source: Exif 2.32, tag 0x0112 (Orientation).
"""

from __future__ import annotations

import numpy as np

from models.jit import compiled

# orientation: rows and columns change places, then the stored rows run backwards, the columns too
_TURNS = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}
_BLOCK = 32  # pixels: a block of both sides fits into the first cache


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """uint8[h, w, 3] as stored to upright; `orientation` is EXIF's, any other number changes nothing."""
    if orientation not in _TURNS:
        return pixels
    swap, backwards_y, backwards_x = _TURNS[orientation]
    height, width = pixels.shape[:2]
    out = np.empty((width, height, 3) if swap else (height, width, 3), np.uint8)
    _turn(np.ascontiguousarray(pixels), swap, backwards_y, backwards_x, out)
    return out


@compiled
def _turn(pixels, swap, backwards_y, backwards_x, out):
    height, width = pixels.shape[0], pixels.shape[1]
    for top in range(0, out.shape[0], _BLOCK):
        for left in range(0, out.shape[1], _BLOCK):
            for i in range(top, min(top + _BLOCK, out.shape[0])):
                for j in range(left, min(left + _BLOCK, out.shape[1])):
                    y, x = (j, i) if swap else (i, j)
                    if backwards_y:
                        y = height - 1 - y
                    if backwards_x:
                        x = width - 1 - x
                    out[i, j, 0] = pixels[y, x, 0]
                    out[i, j, 1] = pixels[y, x, 1]
                    out[i, j, 2] = pixels[y, x, 2]
