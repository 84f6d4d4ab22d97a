"""Finds the tables that a serialized ONNX graph looks rows up in, such as word embeddings.

These tables are half of the weights of a small model, and most of their rows are never read. A
session that maps them from a file needs memory only for the rows in use, and two sessions need that
memory once. `wire_format` walks the protobuf message, because a parsed copy would need the
memory that this saves.

The field numbers are those of onnx.proto (ModelProto, GraphProto, NodeProto and TensorProto).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from semserve_server.runtime.wire_format import varint, wire_fields

MODEL_GRAPH = 7
GRAPH_NODE, GRAPH_INITIALIZER = 1, 5
NODE_INPUT, NODE_OP_TYPE = 1, 4
TENSOR_DIMS, TENSOR_TYPE, TENSOR_NAME, TENSOR_RAW_DATA = 1, 2, 8, 9
FLOAT = 1

LOOKUPS = frozenset({b"Gather", b"EmbedLayerNormalization"})
"""Operators that read only some rows of an input."""
SMALLEST = 1 << 20
"""Size in bytes below which a table is not worth a mapped file."""


@dataclass(frozen=True, slots=True)
class Table:
    """A float32 initializer, little-endian and in row-major order."""

    name: str
    shape: tuple[int, ...]
    start: int
    """Offset of its bytes in the serialized graph."""
    stop: int


def lookup_tables(content: bytes) -> list[Table]:
    """Find the large float32 initializers that the lookup operators of a graph read.

    Args:
        content: a serialized ModelProto.

    Returns:
        The tables. Empty if the bytes are not a ModelProto; ONNX Runtime reports that.
    """
    try:
        return list(_tables(memoryview(content)))
    except ValueError:
        return []


def _tables(model: memoryview) -> Iterator[Table]:
    read: set[bytes] = set()
    tensors: list[tuple[int, int]] = []
    for number, _, start, stop in wire_fields(model):
        if number != MODEL_GRAPH:
            continue
        for inner, _, inner_start, inner_stop in wire_fields(model, start, stop):
            if inner == GRAPH_NODE:
                read |= _looked_up(model, inner_start, inner_stop)
            elif inner == GRAPH_INITIALIZER and inner_stop - inner_start >= SMALLEST:
                tensors.append((inner_start, inner_stop))
    for start, stop in tensors:
        table = _table(model, start, stop)
        if table is not None and table.name.encode() in read:
            yield table


def _looked_up(model: memoryview, start: int, stop: int) -> set[bytes]:
    """Return the names of the inputs of a node, if the node is a lookup operator."""
    inputs: set[bytes] = set()
    operator = b""
    for number, _, at, end in wire_fields(model, start, stop):
        if number == NODE_INPUT:
            inputs.add(bytes(model[at:end]))
        elif number == NODE_OP_TYPE:
            operator = bytes(model[at:end])
    return inputs if operator in LOOKUPS else set()


def _table(model: memoryview, start: int, stop: int) -> Table | None:
    shape: list[int] = []
    name, kind, raw = "", 0, (0, 0)
    for number, _, at, end in wire_fields(model, start, stop):
        if number == TENSOR_DIMS:  # packed or one by one
            shape += _varints(model, at, end)
        elif number == TENSOR_TYPE:
            kind = varint(model, at)[0]
        elif number == TENSOR_NAME:
            name = str(model[at:end], "utf-8")
        elif number == TENSOR_RAW_DATA:
            raw = at, end
    if kind != FLOAT or raw[1] - raw[0] < SMALLEST or raw[1] - raw[0] != 4 * prod(shape):
        return None
    return Table(name, tuple(shape), *raw)


def _varints(content: memoryview, at: int, stop: int) -> Iterator[int]:
    while at < stop:
        value, at = varint(content, at)
        yield value
