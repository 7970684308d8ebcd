"""MTCNN's networks on OpenVINO.

Where the processor multiplies in bfloat16, P-Net and R-Net look through everything in it, and what
comes near their thresholds is looked at again in float32: of many windows on one face the best score
wins, so rounded scores would often pick another window, and move boxes by pixels.
"""

from __future__ import annotations

import numpy as np

from models.converted import convert, converted
from models.jit import compiled
from models.mosaic import STRIDE, WINDOW
from models.mtcnn_weights import ONET, PNET, RNET
from models.openvino_network import OpenVinoNetwork

_SIDE = 204
# Batches are small, so that little is computed in vain when the last one is filled up: already at
# these the networks reach nine tenths of their speed.
_TILES, _PNET_WINDOWS, _RNET_WINDOWS, _ONET_WINDOWS = 4, 128, 32, 8
_EXACT = "float32"
# bfloat16 moves probabilities near the thresholds by less than 0.05 on the group photographs.
_MARGIN = 0.1


class OpenVinoMtcnnNetworks:
    """See `models.mtcnn.MtcnnNetworks`."""

    tile_side = _SIDE

    def __init__(self, *, precision: str) -> None:
        convert([PNET, RNET, ONET])
        self._screens = precision != _EXACT
        self._pnet = _network(PNET, (_TILES, 3, _SIDE, _SIDE), precision)
        self._rnet = _network(RNET, (_RNET_WINDOWS, 3, 24, 24), precision)
        self._onet = _network(ONET, (_ONET_WINDOWS, 3, 48, 48), _EXACT)
        if self._screens:
            self._exact_pnet = _network(PNET, (_PNET_WINDOWS, 3, WINDOW, WINDOW), _EXACT)
            self._exact_rnet = _network(RNET, (_RNET_WINDOWS, 3, 24, 24), _EXACT)

    def propose(self, tiles: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """See `MtcnnNetworks.propose`."""
        offset, probability = self._pnet(tiles)
        probability = probability[:, 1]
        if self._screens:
            tile, y, x = np.nonzero(probability >= threshold - _MARGIN)
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
        if self._screens:
            near = np.flatnonzero(probability >= threshold - _MARGIN)
            exact_offset, exact = self._exact_rnet(pixels[near])
            offset[near], probability[near] = exact_offset, exact[:, 1]
        return offset, probability

    def output(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See `MtcnnNetworks.output`."""
        offset, points, probability = self._onet(pixels)
        return offset, points, probability[:, 1]


def _network(name: str, shape: tuple[int, ...], precision: str) -> OpenVinoNetwork:
    return OpenVinoNetwork(converted(name), shape=shape, dtype=np.float32, precision=precision)


@compiled
def _cut_out(tiles, tile, y, x, windows):
    for k in range(len(tile)):
        for colour in range(3):
            for i in range(windows.shape[2]):
                for j in range(windows.shape[3]):
                    windows[k, colour, i, j] = tiles[tile[k], colour, y[k] + i, x[k] + j]
