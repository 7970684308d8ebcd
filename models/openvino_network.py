"""A converted network on the processor, run on batches of one fixed shape.

For a shape that is known OpenVINO lays out weights and kernels once. Shapes that change from call to
call cost it up to three times as much, so the last batch is filled up instead.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.openvino_runtime import silent_openvino

EXACT = "float32"
_HINTS = {EXACT: "f32", "bfloat16": "bf16", "float16": "f16"}


class OpenVinoNetwork:
    """A network that takes arrays [n, …] of one type and gives arrays [n, …]."""

    def __init__(
        self, model: Path, *, shape: Sequence[int], dtype: type, precision: str, exact_layers: int = 0
    ) -> None:
        """`shape` is the input's, the batch first, as the network will always see it. Its first
        `exact_layers` convolutions are computed in float32, whatever the `precision` of the others."""
        core = silent_openvino().Core()
        # Weights that are mapped from the file would stay in memory beside the prepared ones.
        core.set_property({"ENABLE_MMAP": False})
        network = core.read_model(model)
        network.reshape({network.inputs[0]: list(shape)})
        if exact_layers and precision != EXACT:
            parts = list(zip(_divided(network, exact_layers), (EXACT, precision), strict=True))
        else:
            parts = [(network, precision)]
        compiled = [core.compile_model(part, "CPU", _settings(way)) for part, way in parts]
        self._requests = [part.create_infer_request() for part in compiled]
        self._buffer: np.ndarray = np.zeros(shape, dtype)
        self._lock = threading.Lock()
        self._shapes = [tuple(output.shape)[1:] for output in compiled[-1].outputs]

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
            for request in self._requests:
                result = request.infer({0: part}, share_inputs=True, share_outputs=True)
                part = result[0]
            count = min(batch, len(inputs) - start)
            for number, output in enumerate(outputs):
                output[start : start + count] = result[number][:count]
        return outputs


def _settings(precision: str) -> dict[str, object]:
    return {"INFERENCE_PRECISION_HINT": _HINTS[precision], "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}


def _divided(network: Any, layers: int) -> tuple[Any, Any]:
    """The network in two: up to the activation of its first `layers` convolutions, and from there on.

    OpenVINO knows one precision for all of a network.
    """
    openvino = silent_openvino()
    activations = [node for node in network.get_ordered_ops() if node.get_type_name() == "Relu"]
    place = activations[layers - 1].output(0)
    between = openvino.opset8.parameter(list(place.get_shape()), np.float32)
    for reader in place.get_target_inputs():
        reader.replace_source_output(between.output(0))
    first = openvino.Model([openvino.opset8.result(place)], network.get_parameters())
    return first, openvino.Model(network.get_results(), [between])
