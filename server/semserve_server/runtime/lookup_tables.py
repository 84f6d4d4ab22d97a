"""Finds the tables that a serialized ONNX graph looks rows up in, such as word embeddings.

These tables are half of the weights of a small model, and most of their rows are never read. A
session that maps them from a file needs memory only for the rows in use, and two sessions need that
memory once. The code walks the protobuf message by hand, because a parsed copy would need the
memory that this saves.

The field numbers are those of onnx.proto (ModelProto, GraphProto, NodeProto and TensorProto).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

MODEL_GRAPH = 7
GRAPH_NODE, GRAPH_INITIALIZER = 1, 5
NODE_INPUT, NODE_OP_TYPE = 1, 4
TENSOR_DIMS, TENSOR_TYPE, TENSOR_NAME, TENSOR_RAW_DATA = 1, 2, 8, 9
FLOAT = 1

LOOKUPS = frozenset({b"Gather", b"EmbedLayerNormalization"})
"""Operators that read only some rows of an input."""
SMALLEST = 1 << 20
"""Size in bytes below which a table is not worth a mapped file."""

_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5


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
    except (IndexError, UnicodeDecodeError, ValueError):
        return []


def _tables(model: memoryview) -> Iterator[Table]:
    read: set[bytes] = set()
    tensors: list[tuple[int, int]] = []
    for number, start, stop in _fields(model, 0, len(model)):
        if number != MODEL_GRAPH:
            continue
        for inner, inner_start, inner_stop in _fields(model, start, stop):
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
    for number, at, end in _fields(model, start, stop):
        if number == NODE_INPUT:
            inputs.add(bytes(model[at:end]))
        elif number == NODE_OP_TYPE:
            operator = bytes(model[at:end])
    return inputs if operator in LOOKUPS else set()


def _table(model: memoryview, start: int, stop: int) -> Table | None:
    shape: list[int] = []
    name, kind, raw = "", 0, (0, 0)
    for number, at, end in _fields(model, start, stop):
        if number == TENSOR_DIMS:  # packed or one by one
            shape += _varints(model, at, end)
        elif number == TENSOR_TYPE:
            kind = _varint(model, at)[0]
        elif number == TENSOR_NAME:
            name = str(model[at:end], "utf-8")
        elif number == TENSOR_RAW_DATA:
            raw = at, end
    if kind != FLOAT or raw[1] - raw[0] < SMALLEST or raw[1] - raw[0] != 4 * prod(shape):
        return None
    return Table(name, tuple(shape), *raw)


def _fields(content: memoryview, at: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Walk a message: yield each field's number, and the start and end of its value.

    Raises:
        IndexError, ValueError: the bytes are not a protobuf message.
    """
    while at < stop:
        tag, at = _varint(content, at)
        number, kind = tag >> 3, tag & 7
        start = at
        if kind == _VARINT:
            _, at = _varint(content, at)
        elif kind == _DELIMITED:
            size, start = _varint(content, at)
            at = start + size
        elif kind in (_FIXED32, _FIXED64):
            at += 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {kind}")
        if at > stop:
            raise ValueError("a field extends beyond its message")
        yield number, start, at


def _varints(content: memoryview, at: int, stop: int) -> Iterator[int]:
    while at < stop:
        value, at = _varint(content, at)
        yield value


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004  (the last byte has its high bit clear)
            return value, at
        shift += 7
