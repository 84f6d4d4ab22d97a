"""Gives each external weight of a serialized ONNX graph a file of its own.

ONNX Runtime writes all weights of an optimised graph, and their packed forms for the CPU's kernels,
into one file. The entries `external_data` of a weight name the file and the places in it: `offset`
and `length` of the weight, and for its packed forms keys that begin with `prepacked` and values of
the form `kernel|offset;length;checksum|offset;length;checksum` (tensor_external_data_info.cc of
ONNX Runtime 1.31). Everything else of the graph is copied as it is.

The field numbers are those of onnx.proto (ModelProto, GraphProto, TensorProto and
StringStringEntryProto).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from semserve_server.runtime.wire_format import encode_delimited, wire_fields

MODEL_GRAPH, GRAPH_INITIALIZER, TENSOR_EXTERNAL_DATA = 7, 5, 13
ENTRY_KEY, ENTRY_VALUE = 1, 2
ALIGNMENT = 4096
"""Each part begins at a multiple of so many bytes: ONNX Runtime maps every part by itself."""
PADDING = memoryview(bytes(ALIGNMENT))

Keep = Callable[[Sequence[memoryview]], str]
"""Writes a file of these parts, one after another, and returns its name."""


def divide(model: bytes, content: memoryview, keep: Keep) -> bytes:
    """Return the graph with each external weight in a file of its own.

    Args:
        model: a serialized ModelProto.
        content: the file that contains all external weights.
        keep: gets the parts of each weight: the weight, its packed forms, and padding.

    Raises:
        ValueError: the bytes are not a ModelProto, or the entries have another form or name places
            outside the file.
    """
    moved = partial(_moved, content=content, keep=keep)
    return _changed(
        memoryview(model), MODEL_GRAPH, lambda graph: _changed(graph, GRAPH_INITIALIZER, moved)
    )


def _changed(message: memoryview, field: int, change: Callable[[memoryview], bytes]) -> bytes:
    """Copy a message, with each value of a field changed."""
    copy, end = bytearray(), 0
    for number, _, start, stop in wire_fields(message):
        if number == field:
            copy += encode_delimited(field, change(message[start:stop]))
        else:
            copy += message[end:stop]
        end = stop
    return bytes(copy)


def _moved(tensor: memoryview, content: memoryview, keep: Keep) -> bytes:
    """Copy a TensorProto. If its data is external, write the data to another file."""
    copy, entries, end = bytearray(), [], 0
    for number, _, start, stop in wire_fields(tensor):
        if number == TENSOR_EXTERNAL_DATA:
            fields = wire_fields(tensor, start, stop)
            key, value = (str(tensor[at:to], "utf-8") for _, _, at, to in fields)
            entries.append((key, value))
        else:
            copy += tensor[end:stop]
        end = stop
    for key, value in _moved_entries(entries, content, keep) if entries else ():
        pair_bytes = encode_delimited(ENTRY_KEY, key.encode())
        pair_bytes += encode_delimited(ENTRY_VALUE, value.encode())
        copy += encode_delimited(TENSOR_EXTERNAL_DATA, pair_bytes)
    return bytes(copy)


def _moved_entries(
    entries: Sequence[tuple[str, str]], content: memoryview, keep: Keep
) -> list[tuple[str, str]]:
    """Write a weight and its packed forms to another file. Return the entries for that file."""
    file = _Parts(content)
    values = dict(entries)  # the keys of packed forms may repeat, these do not
    offset, length = values.get("offset", ""), values.get("length", "")
    moved = [("offset", file.add(offset, length)), ("length", length)]
    for key, value in entries:
        if key.startswith("prepacked"):
            kernel, *blobs = value.split("|")
            places = (blob.split(";") for blob in blobs)
            packed = [f"{file.add(at, length)};{length};{check}" for at, length, check in places]
            moved.append((key, "|".join((kernel, *packed))))
    return [("location", keep(file.parts)), *moved]


class _Parts:
    """The parts of a file, and the padding after each."""

    def __init__(self, content: memoryview) -> None:
        self.parts: list[memoryview] = []
        self._content = content
        self._size = 0

    def add(self, offset: str, length: str) -> str:
        """Append bytes of the present file, and return their offset in the new one."""
        start, size = self._size, int(length)
        part = self._content[int(offset) :][:size]
        if len(part) < size:
            raise ValueError(f"{size} bytes at {offset} are not in the file of the weights")
        padding = PADDING[: -size % ALIGNMENT]
        self.parts += [part, padding]
        self._size += size + len(padding)
        return str(start)
