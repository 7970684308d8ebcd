"""A converted network on the processor, run on batches of one fixed shape.

For a shape that is known OpenVINO lays out weights and kernels once. Shapes that change from call to
call cost it up to three times as much, so the last batch is filled up instead.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.openvino_runtime import silent_openvino

_HINTS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}


class OpenVinoNetwork:
    """A network that takes arrays [n, …] of one type and gives arrays [n, …]."""

    def __init__(self, model: Path, *, shape: Sequence[int], dtype: type, precision: str) -> None:
        """`shape` is the input's, the batch first, as the network will always see it."""
        core = silent_openvino().Core()
        # Weights that are mapped from the file would stay in memory beside the prepared ones.
        core.set_property({"ENABLE_MMAP": False})
        network = core.read_model(model)
        network.reshape({network.inputs[0]: list(shape)})
        settings = {
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "INFERENCE_NUM_THREADS": 1,
            "NUM_STREAMS": 1,
        }
        compiled = core.compile_model(network, "CPU", settings)
        self._request = compiled.create_infer_request()
        self._buffer: np.ndarray = np.zeros(shape, dtype)
        self._lock = threading.Lock()
        self._shapes = [tuple(output.shape)[1:] for output in compiled.outputs]

    def __call__(self, inputs: np.ndarray) -> list[np.ndarray]:
        """float32[n, …] outputs for inputs[n, …]; n may be any number."""
        with self._lock:  # one request, one buffer
            return self._run(inputs)

    def _run(self, inputs: np.ndarray) -> list[np.ndarray]:
        outputs = [np.empty((len(inputs), *shape), np.float32) for shape in self._shapes]
        batch = len(self._buffer)
        for start in range(0, len(inputs), batch):
            part = inputs[start : start + batch]
            if len(part) < batch:
                self._buffer[: len(part)] = part
                part = self._buffer
            result = self._request.infer({0: part}, share_inputs=True, share_outputs=True)
            count = min(batch, len(inputs) - start)
            for number, output in enumerate(outputs):
                output[start : start + count] = result[number][:count]
        return outputs
