"""The FaceNet embedder on OpenVINO. See `models.facenet` for the network."""

from __future__ import annotations

import numpy as np

from models.converted import converted
from models.openvino_network import OpenVinoNetwork

_BATCH = 16
_EXACT_LAYERS = 2  # see `models.facenet`


class OpenVinoFaceNet:
    """InceptionResnetV1 with the weights called `name`. Raises WeightsError."""

    dimensions = 512

    def __init__(self, name: str, *, precision: str) -> None:
        self._network = OpenVinoNetwork(
            converted(name), shape=(_BATCH, 160, 160, 3), dtype=np.uint8, precision=precision,
            exact_layers=_EXACT_LAYERS,
        )  # fmt: skip

    def embed(self, crops: np.ndarray) -> np.ndarray:
        """uint8[n, 160, 160, 3] RGB crops to float32[n, 512] vectors of unit length."""
        return self._network(np.ascontiguousarray(crops))[0]
