from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.frozen_graph import read_constants

# The wire format of protocol buffers, by hand: https://protobuf.dev/programming-guides/encoding
FLOAT, INT32 = 1, 3  # of tensorflow.DataType


def varint(value: int) -> bytes:
    result = b""
    while value > 127:
        result, value = result + bytes([value & 127 | 128]), value >> 7
    return result + bytes([value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def message(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def constant(
    name: str, shape: tuple[int, ...], values: bytes, *, dtype: int = FLOAT, op: str = "Const"
) -> bytes:
    dims = b"".join(message(2, number(1, size)) for size in shape)
    tensor = number(1, dtype) + message(2, dims) + values
    attribute = message(1, b"value") + message(2, message(8, tensor))
    return message(1, message(1, name.encode()) + message(2, op.encode()) + message(5, attribute))


def content(values: np.ndarray) -> bytes:
    return message(4, values.astype("<f4").tobytes())


def listed(*values: float) -> bytes:
    return message(5, struct.pack(f"<{len(values)}f", *values))


@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(max_dims=4, max_side=4),
        elements=st.floats(-10, 10, width=32),
    )
)
def test_a_constant_keeps_its_shape_and_values(values: np.ndarray) -> None:
    found = read_constants(constant("a/b", values.shape, content(values)))
    assert list(found) == ["a/b"]
    np.testing.assert_array_equal(found["a/b"], values)
    assert found["a/b"].dtype == np.float32


def test_a_list_of_values_is_read_as_well() -> None:
    found = read_constants(constant("x", (2, 2), listed(1, 2, 3, 4)) + constant("y", (), listed(7)))
    np.testing.assert_array_equal(found["x"], [[1, 2], [3, 4]])
    assert found["y"].shape == () and found["y"] == 7


def test_a_value_stored_once_fills_its_shape() -> None:
    found = read_constants(constant("x", (2, 3), listed(5)))
    np.testing.assert_array_equal(found["x"], np.full((2, 3), 5))


def test_only_constants_of_float32_are_read() -> None:
    graph = (
        constant("kept", (1,), listed(1))
        + constant("integers", (1,), b"", dtype=INT32)
        + constant("run me", (1,), listed(1), op="PyFunc")
    )
    assert list(read_constants(graph)) == ["kept"]


@pytest.mark.parametrize("values", [listed(1, 2), b"", content(np.ones(5))], ids=["few", "none", "many"])
def test_values_that_do_not_fill_the_shape_are_refused(values: bytes) -> None:
    with pytest.raises(ValueError, match=r"shape|reshape"):
        read_constants(constant("x", (2, 2), values))


@pytest.mark.parametrize(
    "data", [b"", b"\x80\x02}q\x00.", b"<html>not found</html>", constant("x", (1,), listed(1))[:-3]]
)
def test_what_is_no_graph_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a frozen TensorFlow graph"):
        read_constants(data)
