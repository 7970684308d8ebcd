"""What a detector is: upright photos in, boxes, scores and landmarks out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol

import numpy as np

from models.engine import CUDA, OPENVINO, Engine


@dataclass(frozen=True)
class Detections:
    """The faces of one photo, best score first, in its pixels.

    boxes float32[n, 4] (x0, y0, x1, y1; may reach outside the photo), scores float32[n] in 0 to 1,
    landmarks float32[n, 5, 2]: left eye, right eye (as the viewer sees them), nose, corners of the mouth.
    """

    boxes: np.ndarray
    scores: np.ndarray
    landmarks: np.ndarray

    @staticmethod
    def none() -> Detections:
        """No face."""
        return Detections(
            np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32)
        )


# Changes whenever the pixels that the networks see of a photo change.
_RESAMPLING = "area"


class Detector(Protocol):
    """Finds faces."""

    def detect(self, photos: Sequence[np.ndarray]) -> list[Detections]:
        """Faces of each photo, uint8[h, w, 3] RGB and upright, in that photo's pixels."""
        ...


@dataclass(frozen=True)
class MtcnnSettings:
    """What decides which faces MTCNN finds.

    `min_face` and `working_side` are pixels: photos are searched at a longer side of at most
    `working_side`, for faces from `min_face` at that scale. The thresholds of the three stages and
    the pyramid factor are facenet-pytorch's.
    """

    min_face: float = 24.0  # with a point, as the command line gives it: fingerprints are made of text
    working_side: int = 1280
    thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7)
    pyramid_factor: float = 0.709

    name = "mtcnn"

    @classmethod
    def described(cls, description: Mapping[str, Any]) -> MtcnnSettings:
        """The settings that `describe` wrote down."""
        values = {f.name: description[f.name] for f in fields(cls)}
        return cls(**{**values, "thresholds": tuple(values["thresholds"])})

    def describe(self) -> dict[str, object]:
        """The settings as plain values, for fingerprints."""
        return {"name": self.name, "resampling": _RESAMPLING, **asdict(self)}


def load_detector(settings: MtcnnSettings, *, engine: Engine) -> Detector:
    """The detector that `settings` describe, ready to run. Raises WeightsError."""
    from models.mtcnn import Mtcnn, MtcnnNetworks  # loaded only by those who detect

    if engine.backend == OPENVINO:
        from models.mtcnn_openvino import OpenVinoMtcnnNetworks

        networks: MtcnnNetworks = OpenVinoMtcnnNetworks(precision=engine.precision)
    else:
        from models.mtcnn_torch import TorchMtcnnNetworks

        # On a processor torch runs such small networks no faster in half precision.
        precision = engine.precision if engine.device == CUDA else "float32"
        networks = TorchMtcnnNetworks(device=engine.device, precision=precision)
    return Mtcnn(settings, networks)
