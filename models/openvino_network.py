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

from models.openvino_runtime import silent_openvino

EXACT = "float32"
_HINTS = {EXACT: "f32", "bfloat16": "bf16", "float16": "f16"}


class OpenVinoNetwork:
    """A network that takes arrays [n, …] of one type and gives arrays [n, …]."""

    def __init__(
        self,
        model: Path,
        *,
        shape: Sequence[int],
        dtype: type,
        precision: str,
        exact_layers: int = 0,
        rest: int = 0,
    ) -> None:
        """`shape` is the input's, the batch first, as the network will always see it; what is left after
        full batches it sees in batches of `rest`, if given, where that is less to compute. Its first
        `exact_layers` convolutions are computed in float32, whatever the `precision` of the others."""
        core = silent_openvino().Core()
        # Weights that are mapped from the file would stay in memory beside the prepared ones.
        core.set_property({"ENABLE_MMAP": False})
        self._dtype = dtype
        self._batches = []
        for batch in filter(None, (shape[0], rest)):
            network = core.read_model(model)
            network.reshape({network.inputs[0]: [batch, *shape[1:]]})
            parts = [(network, precision)]
            if exact_layers and precision != EXACT:
                parts = list(zip(_divided(network, exact_layers), (EXACT, precision), strict=True))
            compiled = [core.compile_model(part, "CPU", _settings(way)) for part, way in parts]
            self._batches.append(_Batch(compiled, np.zeros((batch, *shape[1:]), dtype)))
        self._lock = threading.Lock()

    def __call__(self, inputs: np.ndarray) -> list[np.ndarray]:
        """float32[n, …] outputs for inputs[n, …]; n may be any number."""
        # What is handed over must lie in memory as the network has it, and be its own to write.
        inputs = np.require(inputs, self._dtype, ("C", "W"))
        outputs = [np.empty((len(inputs), *shape), np.float32) for shape in self._batches[0].shapes]
        start = 0
        with self._lock:  # requests and buffers are there once
            while start < len(inputs):
                batch = self._fitting(len(inputs) - start)
                count = min(batch.size, len(inputs) - start)
                for output, result in zip(outputs, batch(inputs[start : start + count]), strict=True):
                    output[start : start + count] = result
                start += count
        return outputs

    def _fitting(self, left: int) -> _Batch:
        """The batch that does for the next of so many: the smaller one where it computes less in vain."""
        return min(self._batches, key=lambda batch: (-(-left // batch.size) * batch.size, -batch.size))


class _Batch:
    """A network prepared for one number of inputs at a time, `size`: its parts, one after the other."""

    def __init__(self, parts: Sequence[Any], buffer: np.ndarray) -> None:
        self.size = len(buffer)
        self._buffer = buffer
        self._requests = [part.create_infer_request() for part in parts]
        for before, after in pairwise(self._requests):
            after.set_input_tensor(before.get_output_tensor(0))
        last = self._requests[-1]
        # Views of where the results come to lie, always the same for one shape.
        self._results = [last.get_output_tensor(n).data for n in range(len(parts[-1].outputs))]
        self.shapes = [result.shape[1:] for result in self._results]
        self._tensor = silent_openvino().Tensor

    def __call__(self, inputs: np.ndarray) -> list[np.ndarray]:
        """What the network says of up to `size` inputs: views, good until it is asked again."""
        whole = inputs
        if len(inputs) < self.size:
            self._buffer[: len(inputs)] = inputs
            whole = self._buffer
        # Handing over arrays by `infer` itself costs as much as a small network.
        self._requests[0].set_input_tensor(self._tensor(whole, shared_memory=True))
        for request in self._requests:
            request.infer(share_outputs=True, decode_strings=False)
        return [result[: len(inputs)] for result in self._results]


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
