"""MTCNN's networks in half precision, exact where it counts.

P-Net and R-Net look through everything in bfloat16 or float16, and what comes near their thresholds is
looked at again in float32: of many windows on one face the best score wins, so rounded scores would
often pick another window, and move boxes by pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from models.jit import compiled
from models.mosaic import STRIDE, WINDOW

# float32[n, 3, s, s] pixels to float32[n, …] outputs, for any n.
Network = Callable[[np.ndarray], list[np.ndarray]]

# bfloat16 moves probabilities near the thresholds by less than 0.05 on the group photographs; float16
# rounds eight times as finely.
_MARGIN = 0.1


class ScreenedNetworks:
    """See `models.mtcnn.MtcnnNetworks`. Without exact networks the others are taken at their word.

    Outputs are facenet-pytorch's: corrections and two probabilities, of O-Net landmarks between them.
    """

    def __init__(
        self,
        *,
        tile_side: int,
        pnet: Network,
        rnet: Network,
        onet: Network,
        exact_pnet: Network | None = None,
        exact_rnet: Network | None = None,
    ) -> None:
        """`exact_pnet` is only ever given single windows: float32[n, 3, 12, 12]."""
        self.tile_side = tile_side
        self._pnet, self._rnet, self._onet = pnet, rnet, onet
        self._exact_pnet, self._exact_rnet = exact_pnet, exact_rnet

    def propose(self, tiles: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """See `MtcnnNetworks.propose`."""
        offset, probability = self._pnet(tiles)
        probability = probability[:, 1]
        if self._exact_pnet:
            tile, y, x = np.nonzero(probability >= threshold - _MARGIN)
            if len(tile):
                windows = np.empty((len(tile), 3, WINDOW, WINDOW), np.float32)
                _cut_out(tiles, tile, y * STRIDE, x * STRIDE, windows)
                exact_offset, exact = self._exact_pnet(windows)
                offset[tile, :, y, x] = exact_offset[:, :, 0, 0]
                probability[tile, y, x] = exact[:, 1, 0, 0]
        return offset, probability

    def refine(self, pixels: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """See `MtcnnNetworks.refine`."""
        offset, probability = self._rnet(pixels)
        probability = probability[:, 1]
        if self._exact_rnet:
            near = np.flatnonzero(probability >= threshold - _MARGIN)
            if len(near):
                exact_offset, exact = self._exact_rnet(pixels[near])
                offset[near], probability[near] = exact_offset, exact[:, 1]
        return offset, probability

    def output(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See `MtcnnNetworks.output`."""
        offset, points, probability = self._onet(pixels)
        return offset, points, probability[:, 1]


@compiled
def _cut_out(tiles, tile, y, x, windows):
    for k in range(len(tile)):
        for colour in range(3):
            for i in range(windows.shape[2]):
                for j in range(windows.shape[3]):
                    windows[k, colour, i, j] = tiles[tile[k], colour, y[k] + i, x[k] + j]
