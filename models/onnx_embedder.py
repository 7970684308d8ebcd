"""The user's own embedder: an ONNX file that takes aligned crops and gives vectors.

The usual case is an ArcFace-style network on 112 × 112 crops aligned by five points. Needs the
package onnxruntime (``pip install 'albumen[onnx]'``).
"""

from __future__ import annotations

import os

import numpy as np

from models.embedder import unit
from models.weights import WeightsError

_BATCH = 32


def _session(path: str, device: str):
    try:
        import onnxruntime
    except ImportError as error:
        raise WeightsError("onnx:FILE needs the package onnxruntime: pip install 'albumen[onnx]'") from error
    if not os.path.isfile(path):
        raise WeightsError(f"{path} is not a file: give onnx:FILE with an existing ONNX model")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    wanted = ["CUDAExecutionProvider"] if device.startswith("cuda") else []
    providers = [p for p in wanted if p in onnxruntime.get_available_providers()] + ["CPUExecutionProvider"]
    try:
        return onnxruntime.InferenceSession(path, options, providers=providers)
    except Exception as error:  # onnxruntime raises many kinds, none of them documented
        raise WeightsError(f"{path} can't be loaded as an ONNX model: {error}") from error


def _layout(session, path: str) -> tuple[bool, int]:
    """(channels first?, side in pixels) of a model with one image input of three channels."""
    inputs = session.get_inputs()
    usable = len(inputs) == 1 and inputs[0].type == "tensor(float)"
    shape = list(inputs[0].shape) if usable else []
    for channels_first, channels, sides in ((True, 1, slice(2, 4)), (False, 3, slice(1, 3))):
        fixed = {side for side in shape[sides] if isinstance(side, int)}
        if len(shape) == 4 and shape[channels] == 3 and len(fixed) <= 1:
            return channels_first, fixed.pop() if fixed else 112  # free sizes: the usual one
    taken = ", ".join(f"{i.shape} of {i.type}" for i in inputs)
    raise WeightsError(f"{path} takes {taken}: expected one float32 batch of square RGB images")


def input_size(path: str) -> int:
    """The side in pixels of the crops that the model at `path` takes. Raises WeightsError."""
    return _layout(_session(path, "cpu"), path)[1]


class OnnxEmbedder:
    """An ONNX model as an embedder."""

    def __init__(self, path: str, *, device: str = "cpu") -> None:
        self._session = _session(path, device)
        self._channels_first, self.size = _layout(self._session, path)
        self._input = self._session.get_inputs()[0].name
        self._fixed_batch = self._session.get_inputs()[0].shape[0]
        try:
            self.dimensions = self.embed(np.zeros((1, self.size, self.size, 3), np.uint8)).shape[1]
        except Exception as error:  # onnxruntime raises many kinds, none of them documented
            raise WeightsError(f"{path} can't be run on {self.size} × {self.size} crops: {error}") from error

    def embed(self, crops: np.ndarray) -> np.ndarray:
        """uint8[n, size, size, 3] RGB crops to float32[n, d] vectors of unit length."""
        step = self._fixed_batch if isinstance(self._fixed_batch, int) else _BATCH
        parts = [self._embed(crops[i : i + step], step) for i in range(0, len(crops), step)]
        return np.concatenate(parts) if parts else np.zeros((0, self.dimensions), np.float32)

    def _embed(self, crops: np.ndarray, step: int) -> np.ndarray:
        pixels = (crops.astype(np.float32) - 127.5) / 127.5
        if self._channels_first:
            pixels = pixels.transpose(0, 3, 1, 2)
        if isinstance(self._fixed_batch, int) and len(pixels) < step:
            padding = np.zeros((step - len(pixels), *pixels.shape[1:]), np.float32)
            pixels = np.concatenate([pixels, padding])
        output = self._session.run(None, {self._input: np.ascontiguousarray(pixels)})[0]
        return unit(output.reshape(len(output), -1)[: len(crops)])
