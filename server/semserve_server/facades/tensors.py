"""Tensors of the Open Inference Protocol: reads them with all limits checked, and writes them.

Pure.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semserve_server.errors import InvalidRequest
from semserve_server.facades.stubs.inference import grpc_service_pb2 as oip

Integers = NDArray[np.int64]
_INTEGERS = {"INT32": ("int_contents", "<i4"), "INT64": ("int64_contents", "<i8")}
_CONTENTS = [field.name for field in oip.InferTensorContents.DESCRIPTOR.fields]


@dataclass(frozen=True, slots=True)
class Output:
    """One output of a reply."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    content: bytes
    """The elements in the format of `raw_output_contents`."""


def floats(name: str, rows: NDArray[np.float32]) -> Output:
    """Create an FP32 output from an array of any shape."""
    return Output(name, "FP32", rows.shape, np.ascontiguousarray(rows, "<f4").tobytes())


def labels(name: str, values: Sequence[str]) -> Output:
    """Create a BYTES output of shape [values]."""
    encoded = [value.encode() for value in values]
    content = b"".join(struct.pack("<I", len(one)) + one for one in encoded)
    return Output(name, "BYTES", (len(encoded),), content)


def texts(request: oip.ModelInferRequest, place: int) -> list[str]:
    """Read a BYTES input of shape [texts] or [texts, 1].

    Args:
        request: the request.
        place: index of the input in the request.

    Raises:
        InvalidRequest: names the invalid field.
    """
    tensor = request.inputs[place]
    if tensor.datatype != "BYTES":
        raise _wrong(place, "datatype", f"{tensor.datatype!r}; {tensor.name!r} is BYTES")
    shape = tuple(tensor.shape)
    if len(shape) not in (1, 2) or shape[1:] not in ((), (1,)):
        raise _wrong(place, "shape", f"is {list(shape)}; texts have [texts] or [texts, 1]")
    elements = _bytes_elements(request, place)
    if len(elements) != shape[0]:
        raise _wrong(place, "shape", f"says {shape[0]} texts, and there are {len(elements)}")
    read = []
    for number, element in enumerate(elements):
        try:
            read.append(element.decode())
        except UnicodeDecodeError as error:
            raise _wrong(place, f"contents[{number}]", "is no UTF-8") from error
    return read


def integers(request: oip.ModelInferRequest, place: int) -> Integers:
    """Read an INT32 or INT64 input of shape [texts, tokens]: int64 of that shape.

    Raises:
        InvalidRequest: naming the field that is wrong.
    """
    tensor = request.inputs[place]
    if tensor.datatype not in _INTEGERS:
        raise _wrong(place, "datatype", f"{tensor.datatype!r}; {tensor.name!r} is INT32 or INT64")
    shape = tuple(tensor.shape)
    if len(shape) != 2 or min(shape) < 1:  # noqa: PLR2004  (texts, tokens)
        raise _wrong(place, "shape", f"is {list(shape)}; token ids have [texts, tokens]")
    contents, kind = _INTEGERS[tensor.datatype]
    if request.raw_input_contents:
        raw = request.raw_input_contents[place]
        if len(raw) != math.prod(shape) * np.dtype(kind).itemsize:
            raise InvalidRequest.of(
                f"raw_input_contents[{place}]",
                f"has {len(raw)} bytes, which {tensor.datatype} of {list(shape)} does not have",
            )
        return np.frombuffer(raw, kind).reshape(shape).astype(np.int64)
    values = np.array(_contents(tensor, place, contents), np.int64)
    if values.size != math.prod(shape):
        raise _wrong(
            place, "shape", f"says {math.prod(shape)} elements, and there are {values.size}"
        )
    return values.reshape(shape)


def require_whole(request: oip.ModelInferRequest) -> None:
    """Refuse a request whose inputs have parameters, or raw contents for some inputs alone.

    Raises:
        InvalidRequest: naming the field.
    """
    names = [tensor.name for tensor in request.inputs]
    for place, tensor in enumerate(request.inputs):
        if tensor.parameters:
            raise _wrong(place, "parameters", f"{min(tensor.parameters)!r} is no known parameter")
        if names.index(tensor.name) != place:
            raise _wrong(place, "name", f"{tensor.name!r} is given twice")
        if request.raw_input_contents and tensor.HasField("contents"):
            raise _wrong(place, "contents", "is given, and raw_input_contents too")
    raw = len(request.raw_input_contents)
    if raw not in (0, len(names)):
        raise InvalidRequest.of(
            "raw_input_contents", f"has {raw} entries, and there are {len(names)} inputs"
        )


def _bytes_elements(request: oip.ModelInferRequest, place: int) -> Sequence[bytes]:
    if request.raw_input_contents:
        return _split(request.raw_input_contents[place], place)
    return _contents(request.inputs[place], place, "bytes_contents")


def _split(raw: bytes, place: int) -> list[bytes]:
    """Take elements apart that each follow their length in 4 bytes."""
    elements: list[bytes] = []
    at = 0
    while at < len(raw):
        begin = at + 4
        size = int.from_bytes(raw[at:begin], "little")
        at = begin + size
        if at > len(raw):
            raise InvalidRequest.of(
                f"raw_input_contents[{place}]", f"ends within element {len(elements)}"
            )
        elements.append(raw[begin:at])
    return elements


def _contents(tensor: oip.ModelInferRequest.InferInputTensor, place: int, field: str) -> Sequence:  # type: ignore[type-arg]
    others = [name for name in _CONTENTS if name != field and len(getattr(tensor.contents, name))]
    if others:
        raise _wrong(place, f"contents.{others[0]}", f"is given; {tensor.datatype} has {field}")
    found: Sequence = getattr(tensor.contents, field)  # type: ignore[type-arg]
    return found


def _wrong(place: int, field: str, description: str) -> InvalidRequest:
    return InvalidRequest.of(f"inputs[{place}].{field}", description)
