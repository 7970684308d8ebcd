"""A converted network on the processor, run on batches of one fixed shape.

For a shape that is known OpenVINO lays out weights and kernels once. Shapes that change from call to
call cost it up to three times as much, so the last batch is filled up instead.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from models.engine import EXACT
from models.openvino_runtime import silent_openvino

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
        parts = [(network, precision)]
        if exact_layers and precision != EXACT:
            parts = list(zip(_divided(network, exact_layers), (EXACT, precision), strict=True))
        compiled = [core.compile_model(part, "CPU", _settings(way)) for part, way in parts]
        self._requests = [part.create_infer_request() for part in compiled]
        for before, after in pairwise(self._requests):
            after.set_input_tensor(before.get_output_tensor(0))
        last = self._requests[-1]
        # Views of where the results come to lie, always the same for one shape.
        self._results = [last.get_output_tensor(n).data for n in range(len(compiled[-1].outputs))]
        self._tensor = silent_openvino().Tensor
        self._buffer: np.ndarray = np.zeros(shape, dtype)
        self._lock = threading.Lock()

    def __call__(self, inputs: np.ndarray) -> list[np.ndarray]:
        """float32[n, …] outputs for inputs[n, …]; n may be any number."""
        # What is handed over must lie in memory as the network has it, and be its own to write.
        inputs = np.require(inputs, self._buffer.dtype, ("C", "W"))
        outputs = [np.empty((len(inputs), *result.shape[1:]), np.float32) for result in self._results]
        with self._lock:  # requests and buffers are there once
            for start in range(0, len(inputs), len(self._buffer)):
                self._infer(inputs[start : start + len(self._buffer)])
                for output, result in zip(outputs, self._results, strict=True):
                    part = output[start : start + len(result)]
                    part[:] = result[: len(part)]
        return outputs

    def _infer(self, batch: np.ndarray) -> None:
        """Runs the network on up to a batch; the results lie where they always do."""
        if len(batch) < len(self._buffer):
            self._buffer[: len(batch)] = batch
            batch = self._buffer
        # Handing over arrays by `infer` itself costs as much as a small network.
        self._requests[0].set_input_tensor(self._tensor(batch, shared_memory=True))
        for request in self._requests:
            request.infer(share_outputs=True, decode_strings=False)


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
