"""MTCNN's networks on OpenVINO. See `models.mtcnn_screening` for what bfloat16 is trusted with."""

from __future__ import annotations

import numpy as np

from models.converted import convert, converted
from models.engine import EXACT
from models.mosaic import WINDOW
from models.mtcnn_screening import ScreenedNetworks
from models.mtcnn_weights import ONET, PNET, RNET
from models.openvino_network import OpenVinoNetwork

_SIDE = 204
# Batches are small, so that little is computed in vain when the last one is filled up: already at
# these the networks reach nine tenths of their speed.
_TILES, _PNET_WINDOWS, _RNET_WINDOWS, _ONET_WINDOWS = 4, 128, 32, 8


class OpenVinoMtcnnNetworks(ScreenedNetworks):
    """See `models.mtcnn.MtcnnNetworks`. Raises WeightsError."""

    def __init__(self, *, precision: str) -> None:
        convert([PNET, RNET, ONET])
        screens = precision != EXACT
        super().__init__(
            tile_side=_SIDE,
            pnet=_network(PNET, (_TILES, 3, _SIDE, _SIDE), precision),
            rnet=_network(RNET, (_RNET_WINDOWS, 3, 24, 24), precision),
            onet=_network(ONET, (_ONET_WINDOWS, 3, 48, 48), EXACT),
            exact_pnet=_network(PNET, (_PNET_WINDOWS, 3, WINDOW, WINDOW), EXACT) if screens else None,
            exact_rnet=_network(RNET, (_RNET_WINDOWS, 3, 24, 24), EXACT) if screens else None,
        )


def _network(name: str, shape: tuple[int, ...], precision: str) -> OpenVinoNetwork:
    return OpenVinoNetwork(converted(name), shape=shape, dtype=np.float32, precision=precision)
