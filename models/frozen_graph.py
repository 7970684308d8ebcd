"""Reads the constants of a frozen TensorFlow graph, as data.

A frozen graph is one protocol-buffer message, ``GraphDef``. Only the fields that carry constants
are declared here (tensorflow/core/framework/{graph,node_def,attr_value,tensor}.proto); nothing of
the graph is executed and TensorFlow is not needed.
"""

from __future__ import annotations

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FLOAT32 = 1  # tensorflow.DataType.DT_FLOAT


def read_constants(data: bytes) -> dict[str, np.ndarray]:
    """All float32 constants of a frozen graph by name, in the layout that TensorFlow keeps them in.

    Raises ValueError where `data` is not such a graph.
    """
    graph = _graph_message()()
    try:
        graph.ParseFromString(data)
    except Exception as error:  # protobuf's DecodeError has no public home common to its versions
        raise ValueError(f"not a frozen TensorFlow graph: {error}") from error
    constants = {}
    for node in graph.node:
        if node.op != "Const":
            continue
        for attribute in node.attr:
            tensor = attribute.value.tensor
            if attribute.key == "value" and tensor.dtype == _FLOAT32:
                shape = [dim.size for dim in tensor.tensor_shape.dim]
                constants[node.name] = _values(tensor, shape)
    if not constants:
        raise ValueError("not a frozen TensorFlow graph: it holds no float32 constants")
    return constants


def _values(tensor, shape: list[int]) -> np.ndarray:
    count = int(np.prod(shape, dtype=np.int64))
    if tensor.tensor_content:
        return np.frombuffer(tensor.tensor_content, "<f4").reshape(shape)
    stored = np.array(tensor.float_val, np.float32)
    if stored.size == 1:  # TensorFlow writes a constant that repeats one value once
        return np.full(shape, stored[0], np.float32)
    if stored.size != count:
        raise ValueError(f"a constant of shape {shape} holds {stored.size} values")
    return stored.reshape(shape)


def _graph_message():
    """The message class of the part of ``GraphDef`` that is read here."""
    kind = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="frozen_graph.proto", package="frozen", syntax="proto3")

    def message(name: str, *fields: tuple[str, int, int, bool, str | None]) -> None:
        declared = file.message_type.add(name=name)
        for field_name, number, field_type, repeated, of in fields:
            label = kind.LABEL_REPEATED if repeated else kind.LABEL_OPTIONAL
            field = declared.field.add(name=field_name, number=number, type=field_type, label=label)
            if of:
                field.type_name = f".frozen.{of}"

    message("Dim", ("size", 1, kind.TYPE_INT64, False, None))
    message("Shape", ("dim", 2, kind.TYPE_MESSAGE, True, "Dim"))
    message(
        "Tensor",
        ("dtype", 1, kind.TYPE_INT32, False, None),
        ("tensor_shape", 2, kind.TYPE_MESSAGE, False, "Shape"),
        ("tensor_content", 4, kind.TYPE_BYTES, False, None),
        ("float_val", 5, kind.TYPE_FLOAT, True, None),
    )
    message("Attribute", ("tensor", 8, kind.TYPE_MESSAGE, False, "Tensor"))
    # A map field is, on the wire, a repeated message of key and value.
    message(
        "Entry",
        ("key", 1, kind.TYPE_STRING, False, None),
        ("value", 2, kind.TYPE_MESSAGE, False, "Attribute"),
    )
    message(
        "Node",
        ("name", 1, kind.TYPE_STRING, False, None),
        ("op", 2, kind.TYPE_STRING, False, None),
        ("attr", 5, kind.TYPE_MESSAGE, True, "Entry"),
    )
    message("Graph", ("node", 1, kind.TYPE_MESSAGE, True, "Node"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("frozen.Graph"))
