"""One file of named arrays, small enough to carry: it is cut into parts and joined again.

Numbers of weights are kept in bfloat16, which is what a training in that precision multiplies by.
A bfloat16 is split into its exponent, whose 8 bits hold about 2.6 bits of information in a trained
weight, and its sign and fraction, which cannot be made smaller. Needs numpy alone.
"""

import json
import lzma
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
LENGTH_BYTES = 8  # of the header's length, at the beginning of the file


def write_packed(path: Path, arrays: Mapping[str, Array], facts: Mapping[str, Any]) -> None:
    """Write arrays and facts; matrices of fp32 are rounded to bfloat16, all else is kept whole."""
    entries, blobs, offset = {}, [], 0
    for name, array in arrays.items():
        codec, blob = _encoded(array)
        entries[name] = [codec, str(array.dtype), array.shape, offset, len(blob)]
        blobs.append(blob)
        offset += len(blob)
    header = json.dumps({"facts": facts, "arrays": entries}).encode()
    with path.open("wb") as file:
        file.write(len(header).to_bytes(LENGTH_BYTES, "little") + header)
        for blob in blobs:
            file.write(blob)


def read_packed(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """Return the arrays, bfloat16 widened to fp32, and the facts."""
    content = memoryview(path.read_bytes())
    start = LENGTH_BYTES + int.from_bytes(content[:LENGTH_BYTES], "little")
    header = json.loads(bytes(content[LENGTH_BYTES:start]))
    arrays = {
        name: _decoded(codec, dtype, shape, content[start + offset : start + offset + length])
        for name, (codec, dtype, shape, offset, length) in header["arrays"].items()
    }
    return arrays, header["facts"]


def _encoded(array: Array) -> tuple[str, bytes]:
    if array.dtype == np.float32 and array.ndim > 1:
        bits = array.reshape(-1).view(np.uint32).astype(np.uint64)
        short = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)  # to nearest even
        exponent = ((short >> 7) & 0xFF).astype(np.uint8).tobytes()
        rest = ((short >> 15) << 7 | short & 0x7F).astype(np.uint8).tobytes()
        coder = zlib.compressobj(9, zlib.DEFLATED, 15, 9, zlib.Z_HUFFMAN_ONLY)
        packed = coder.compress(exponent) + coder.flush()
        return "bfloat16", len(packed).to_bytes(LENGTH_BYTES, "little") + packed + rest
    if array.dtype.kind == "f":
        return "raw", array.tobytes()
    return "lzma", lzma.compress(array.tobytes(), preset=6)


def _decoded(codec: str, dtype: str, shape: list[int], blob: memoryview) -> Array:
    if codec == "bfloat16":
        length = int.from_bytes(blob[:LENGTH_BYTES], "little")
        exponent = zlib.decompress(blob[LENGTH_BYTES : LENGTH_BYTES + length])
        high = np.frombuffer(exponent, np.uint8).astype(np.uint32)
        rest = np.frombuffer(blob[LENGTH_BYTES + length :], np.uint8).astype(np.uint32)
        bits = (rest >> 7) << 31 | high << 23 | (rest & 0x7F) << 16
        return bits.view(np.float32).reshape(shape)
    content = lzma.decompress(blob) if codec == "lzma" else bytes(blob)
    return np.frombuffer(content, dtype).reshape(shape)
