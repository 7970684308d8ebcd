"""Small ONNX models for tests, made on the spot."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Dim: TypeAlias = "int | str"


def model(
    path: Path,
    shape: tuple[Dim, ...],
    *,
    size: int = 112,
    dtype: int = TensorProto.FLOAT,
    inputs: int = 1,
    seed: int = 0,
) -> np.ndarray:
    """Writes a model that flattens its images and multiplies them with the matrix that is returned."""
    sides = [d for d in shape[1:] if isinstance(d, int)]
    length = math.prod(sides) if len(sides) == len(shape) - 1 else 3 * size * size
    matrix = np.random.default_rng(seed).normal(size=(length, 5)).astype(np.float32)
    images = [helper.make_tensor_value_info(f"image{i}", dtype, shape) for i in range(inputs)]
    nodes = [
        helper.make_node("Cast", ["image0"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["pixels"], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], ["vectors"]),
    ]
    output = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, [shape[0], 5])
    graph = helper.make_graph(nodes, "g", images, [output], [numpy_helper.from_array(matrix, "matrix")])
    opset = helper.make_opsetid("", 13)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), str(path))
    return matrix
