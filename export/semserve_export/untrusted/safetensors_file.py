"""Checks the header of a safetensors file before any tensor is read."""

import math
import struct
from pathlib import Path
from typing import Any

from semserve_export.errors import WeightsError
from semserve_export.untrusted.json_file import parse_json

LARGEST_HEADER = 16 << 20  # bytes; a header of 10,000 tensors has about 1 MB
BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "U16": 16, "I16": 16, "F16": 16,
    "BF16": 16, "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64,
}  # fmt: skip
METADATA = "__metadata__"
LENGTH_BYTES = 8  # of the header's length, little-endian, at the start of the file
GIT_LFS = b"version https://git-lfs"


def check_safetensors(path: Path) -> dict[str, tuple[int, ...]]:
    """Check that the header of a safetensors file assigns every byte to exactly one tensor.

    Returns:
        The tensors' shapes, by name.

    Raises:
        WeightsError: the file is truncated, or the header is too large, is not JSON, or places a
            tensor outside the file, over another one, or with a size that contradicts its shape.
    """
    name = path.name
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(LENGTH_BYTES)
            (length,) = struct.unpack("<Q", start.ljust(LENGTH_BYTES, b"\0"))
            if start == GIT_LFS[:LENGTH_BYTES]:
                raise WeightsError(f"{name} is a pointer of Git LFS; fetch it with `git lfs pull`")
            if len(start) < LENGTH_BYTES or length > size - LENGTH_BYTES:
                raise WeightsError(f"{name} was cut short: {size} bytes are less than its header")
            if length > LARGEST_HEADER:
                raise WeightsError(f"{name} has a header of {length} bytes; {LARGEST_HEADER} most")
            header = parse_json(file.read(length), f"the header of {name}")
    except OSError as error:
        raise WeightsError(f"{name} cannot be read: {error.strerror}") from error
    header.pop(METADATA, None)
    spans = sorted((_span(tensor, key, name), key) for key, tensor in header.items())
    place = 0
    for (start_at, end), key in spans:
        if start_at != place:
            raise WeightsError(f"{name}: {key[:80]!r} leaves a gap or lies over another tensor")
        place = end
    if place != size - LENGTH_BYTES - length:
        raise WeightsError(
            f"{name} was cut short or is damaged: its tensors have {place} bytes, the file has"
            f" {size - LENGTH_BYTES - length}"
        )
    return {key: tuple(tensor["shape"]) for key, tensor in header.items()}


def _span(tensor: Any, key: str, name: str) -> tuple[int, int]:
    """Return the start and end of a tensor's bytes, counted from the end of the header."""
    where = f"{name}: the tensor {key[:80]!r}"
    try:
        bits, shape, (start, end) = BITS[tensor["dtype"]], tensor["shape"], tensor["data_offsets"]
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{where} has no known dtype, shape and place") from error
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise WeightsError(f"{where} has the shape {str(shape)[:80]}")
    if type(start) is not int or type(end) is not int or not 0 <= start <= end:
        raise WeightsError(f"{where} has no place in the file")
    if (end - start) * 8 != math.prod(shape) * bits:
        raise WeightsError(f"{where} has {end - start} bytes, which its shape {shape} does not")
    return start, end
