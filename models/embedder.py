"""What an embedder is, which there are, and the fingerprint of what they make."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from models import facenet_weights
from models.crop import CropGeometry, FivePointGeometry, UprightBoxGeometry
from models.engine import OPENVINO, Engine
from models.facenet_weights import FACENET_CASIA, FACENET_VGGFACE2
from models.weights import WeightsError, file_sha256

ONNX_PREFIX = "onnx:"

# Changes whenever the numbers that a crop becomes on its way into a network change.
_PREPROCESSING = {"facenet": "rgb, (x - 127.5) / 128", "onnx": "rgb, (x - 127.5) / 127.5"}


class Embedder(Protocol):
    """Turns aligned crops into vectors."""

    dimensions: int

    def embed(self, crops: np.ndarray) -> np.ndarray:
        """uint8[n, size, size, 3] RGB crops to float32[n, d] vectors of unit length."""
        ...


@dataclass(frozen=True)
class EmbedderSpec:
    """What there is to know of an embedder without loading it.

    `geometry` says what a crop shows, `size` its side in pixels; `weights` is the SHA-256 of the
    weights file; `mirror` whether a vector is the mean over the face and its mirror image.
    """

    name: str
    size: int
    geometry: CropGeometry
    preprocessing: str
    weights: str
    mirror: bool

    def describe(self) -> dict[str, object]:
        """The parts of the fingerprint, as plain values."""
        return {
            "name": self.name,
            "size": self.size,
            "geometry": self.geometry.describe(),
            "preprocessing": self.preprocessing,
            "weights": self.weights,
            "mirror": self.mirror,
        }


def embedder_spec(name: str, *, mirror: bool = False) -> EmbedderSpec:
    """The embedder called `name`: ``facenet-casia``, ``facenet-vggface2`` or ``onnx:FILE``.

    Raises WeightsError for an unknown name or a file that can't be read.
    """
    if name == FACENET_CASIA:
        weights = facenet_weights.CASIA.sha256
    elif name == FACENET_VGGFACE2:
        weights = facenet_weights.vggface2_sha256()
    elif name.startswith(ONNX_PREFIX):
        path = name[len(ONNX_PREFIX) :]
        from models.onnx_embedder import input_size

        size = input_size(path)
        # Named by its content alone: a model that was renamed or moved is the same.
        return EmbedderSpec(
            "onnx", size, FivePointGeometry(), _PREPROCESSING["onnx"], file_sha256(path), mirror
        )
    else:
        raise WeightsError(
            f"unknown embedder {name!r}: choose {FACENET_CASIA}, {FACENET_VGGFACE2} or {ONNX_PREFIX}FILE"
        )
    return EmbedderSpec(name, 160, UprightBoxGeometry(), _PREPROCESSING["facenet"], weights, mirror)


def fingerprint(detector: dict[str, object], embedder: dict[str, object]) -> str:
    """A short name for how vectors are made: the same exactly when they can be compared.

    It covers the detector with its settings, crop geometry, weights and mirroring; not the engine
    or the precision, which must agree within a cosine of 0.999.
    """
    text = json.dumps([detector, embedder], sort_keys=True)
    label = "".join(c if c.isalnum() else "-" for c in str(embedder["name"]).lower())
    return f"{detector['name']}-{label}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def load_embedder(name: str, *, mirror: bool = False, engine: Engine) -> Embedder:
    """The embedder called `name`, ready to run. Raises WeightsError."""
    embedder = _load(name, engine)
    return Mirrored(embedder) if mirror else embedder


def _load(name: str, engine: Engine) -> Embedder:
    if name.startswith(ONNX_PREFIX):
        from models.onnx_embedder import OnnxEmbedder

        return OnnxEmbedder(name[len(ONNX_PREFIX) :], device=engine.device)
    load: dict[str, Callable] = {
        FACENET_CASIA: facenet_weights.load_casia,
        FACENET_VGGFACE2: facenet_weights.load_vggface2,
    }
    if name not in load:
        embedder_spec(name)
    if engine.backend == OPENVINO:
        from models.facenet_openvino import OpenVinoFaceNet

        return OpenVinoFaceNet(name, precision=engine.precision)
    from models.facenet import FaceNet  # torch is imported only by those who embed with it

    return FaceNet(load[name](), engine=engine)


class Mirrored:
    """The mean of the vectors of a face and of its mirror image, at unit length."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self.dimensions = embedder.dimensions

    def embed(self, crops: np.ndarray) -> np.ndarray:
        """See `Embedder.embed`."""
        flipped = np.ascontiguousarray(crops[:, :, ::-1])
        return unit(self._embedder.embed(crops) + self._embedder.embed(flipped))


def unit(vectors: np.ndarray) -> np.ndarray:
    """float32[n, d] vectors at unit length. A zero vector stays zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(norms, np.finfo(np.float32).tiny)).astype(np.float32)
