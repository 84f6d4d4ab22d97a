"""Replies as protobuf bytes, spliced from the bytes of the rows.

Filling a `repeated float` from Python takes 19 to 100 us a vector. The bytes of a float32 row are
what protobuf packs, so this module writes the message around them. Tests compare these bytes with
what protobuf writes for the same message.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from google.rpc import status_pb2
from numpy.typing import NDArray
from semserve.v1 import embedding_pb2

from semserve_server.runtime.sparse import SparseRow
from semserve_server.runtime.wire_format import encode_varint

Rows = NDArray[np.float32]

FLOAT32 = embedding_pb2.VECTOR_ENCODING_FLOAT32
FLOAT16 = embedding_pb2.VECTOR_ENCODING_FLOAT16
INT8 = embedding_pb2.VECTOR_ENCODING_INT8
ZERO = bytes(4)
MAX_MODELS = 256
"""Most models whose labels are kept in the form of a reply."""


def varint(value: int) -> bytes:
    """Encode a non-negative integer."""
    return _SMALL[value] if value < SMALL else encode_varint(value)


SMALL = 4096
_SMALL = tuple(encode_varint(value) for value in range(SMALL))
"""Lengths and token counts are small, and a look-up takes a third of the time of encoding."""
_HEADS = tuple(bytes((field << 3 | 2,)) for field in range(16))
"""Tags of fields with a length."""


def delimited(field: int, content: bytes) -> bytes:
    """Encode a string, bytes or message field. Tags below 16 take one byte."""
    size = len(content)
    head = _HEADS[field]
    return head + (_SMALL[size] if size < SMALL else encode_varint(size)) + content


def number(field: int, value: int) -> bytes:
    """Encode an integer field. proto3 omits zero."""
    return bytes((field << 3,)) + varint(value) if value else b""


class ItemResult(NamedTuple):
    """The result of one text: the index of its row, or an error."""

    row: int | None
    error: status_pb2.Status | None
    token_count: int
    truncated_tokens: int


def response(
    model: str, contents: Sequence[bytes], items: Sequence[ItemResult], usage: bytes
) -> bytes:
    """Serialize an EmbedResponse or a ClassifyResponse; both have the same field numbers.

    Args:
        model: the model's name.
        contents: a serialized Embedding or Classification for each row.
        items: one for each text or pair, in their order.
        usage: a serialized Usage.
    """
    parts = [delimited(1, model.encode())]
    for row, error, token_count, truncated_tokens in items:
        if row is not None:
            result = delimited(1, contents[row])
        else:
            result = delimited(2, (error or status_pb2.Status()).SerializeToString())
        result += number(3, token_count) + number(4, truncated_tokens)
        parts.append(delimited(2, result))
    parts.append(delimited(3, usage))
    return b"".join(parts)


def classifications(labels: Sequence[str], logits: Rows, scores: Rows) -> list[bytes]:
    """Serialize each row as a Classification. Of equal scores the first label wins.

    Args:
        labels: one for each column.
        logits: float32 [n, labels].
        scores: float32 [n, labels].
    """
    fields, packed = _label_fields(tuple(labels))
    best = scores.argmax(axis=1).tolist()
    size = 4 * len(labels)
    score = np.ascontiguousarray(scores, "<f4").tobytes()
    logit = np.ascontiguousarray(logits, "<f4").tobytes()
    out = []
    for row, winner in enumerate(best):
        at = row * size
        parts = [fields[winner][0]]
        for place, (_, head, zero) in zip(range(at, at + size, 4), fields, strict=True):
            four = score[place : place + 4]
            parts += (head, four) if four != ZERO else (zero,)
        parts += (packed, logit[at : at + size])
        out.append(b"".join(parts))
    return out


@lru_cache(maxsize=MAX_MODELS)
def _label_fields(labels: tuple[str, ...]) -> tuple[list[tuple[bytes, bytes, bytes]], bytes]:
    """Return what is the same in every Classification of a model.

    Returns:
        For each label: the field `label`, the start of an entry of `scores` up to the four bytes of
        its score, and the entry with the score 0. After them, the start of `logits`.
    """
    fields = []
    for label in labels:
        name = delimited(1, label.encode())
        # A float field has a tag and four bytes. proto3 omits zero, but not negative zero.
        head = delimited(2, bytes(len(name) + 5))[: -5 - len(name)] + name + b"\x15"
        fields.append((name, head, delimited(2, name)))
    return fields, delimited(3, bytes(4 * len(labels)))[: -4 * len(labels)]


def packed_floats(field: int, scores: Rows) -> bytes:
    """Serialize a `repeated float` field from float32 [n]."""
    return delimited(field, np.ascontiguousarray(scores, "<f4").tobytes())


def matrix_rows(scores: Rows) -> bytes:
    """Serialize the rows of a MatrixResponse from float32 [rows, columns]."""
    content = np.ascontiguousarray(scores, "<f4")
    size = content.shape[1] * 4
    head = delimited(2, delimited(1, bytes(size)))[:-size]
    flat = content.tobytes()
    return b"".join(
        part for at in range(0, len(flat), size) for part in (head, flat[at : at + size])
    )


VARINT_BYTES = 5
"""Most bytes of an index as a varint: indices are below 2**31."""


def hits(field: int, places: NDArray[np.intp], scores: Rows) -> bytes:
    """Serialize a `repeated Hit` field: each hit is a message with an index and a score.

    Every byte that a hit can have is in a column of an array. Bytes that proto3 omits, because they
    are zero or beyond the end of a varint, are masked out. So no Python code runs for each hit.

    Args:
        field: number of the field, below 16.
        places: int [n], each below 2**31.
        scores: float32 [n].
    """
    columns = 2 + 1 + VARINT_BYTES + 1 + 4
    content = np.zeros((len(places), columns), np.uint8)
    there = np.ones(content.shape, np.bool_)
    content[:, 0] = field << 3 | 2
    content[:, 2] = 1 << 3
    for at in range(VARINT_BYTES):
        rest = places >> 7 * at
        content[:, 3 + at] = rest & 0x7F | np.where(rest > 0x7F, 0x80, 0)  # noqa: PLR2004
        there[:, 3 + at] = rest > 0
    there[:, 2] = places > 0
    score = 3 + VARINT_BYTES
    bits = np.ascontiguousarray(scores, "<f4").view("<u4")
    content[:, score] = 2 << 3 | 5
    content[:, score + 1 :] = bits[:, None].view(np.uint8)
    there[:, score:] = (bits != 0)[:, None]
    content[:, 1] = there[:, 2:].sum(axis=1)
    return content[there].tobytes()


FIELD_BYTES = 6
"""What a string of an answer has beside its own bytes, or more."""
FLOAT_BYTES = 4


def weight_bytes(vocabulary: int) -> int:
    """Return the most bytes of one weight and its index.

    Args:
        vocabulary: indices are below it.
    """
    return FLOAT_BYTES + max(-(-(vocabulary - 1).bit_length() // 7), 1)


def packed_varints(values: NDArray[np.uint32]) -> bytes:
    """Encode integers as protobuf packs them, without Python code for each.

    Args:
        values: uint32 [n].
    """
    rest = values.astype(np.int64)[:, None] >> np.arange(0, 35, 7)
    content = (rest & 0x7F | np.where(rest > 0x7F, 0x80, 0)).astype(np.uint8)  # noqa: PLR2004
    there = rest > 0
    there[:, 0] = True
    return content[there].tobytes()


def sparse_result(
    row: SparseRow | None, item: ItemResult, token: Callable[[int], str] | None
) -> bytes:
    """Serialize an EmbedSparseResult.

    Args:
        row: the text's weights; None for a text that failed.
        item: the result of the text.
        token: returns the token of an index; None if the reply has no tokens.
    """
    parts = []
    if row is not None and len(row.indices):
        parts = [delimited(1, packed_varints(row.indices)), packed_floats(2, row.values)]
    parts += [number(3, item.token_count), number(4, item.truncated_tokens)]
    if item.error is not None:
        parts.append(delimited(5, item.error.SerializeToString()))
    if row is not None and token is not None:
        parts += [delimited(6, token(index).encode()) for index in row.indices.tolist()]
    return b"".join(parts)


def usage(token_count: int, padded_token_count: int) -> bytes:
    """Serialize a Usage."""
    return number(1, token_count) + number(2, padded_token_count)


def stream_reply(name: str, response: bytes) -> bytes:
    """Serialize a StreamEmbedResponse or StreamClassifyResponse around the bytes of a response."""
    return (delimited(1, name.encode()) if name else b"") + delimited(2, response)


def values(rows: Rows) -> list[bytes]:
    """Serialize each row as an Embedding with `values`."""
    content = np.ascontiguousarray(rows, "<f4")
    size = content.shape[1] * 4
    head = b"\x0a" + varint(size)
    flat = content.tobytes()
    return [head + flat[at : at + size] for at in range(0, len(flat), size)]


def float32(rows: Rows) -> list[bytes]:
    """Serialize each row as an Embedding with packed binary32."""
    return _packed(np.ascontiguousarray(rows, "<f4"), FLOAT32)


def float16(rows: Rows) -> list[bytes]:
    """Serialize each row as an Embedding with packed binary16.

    Overflow becomes the largest value.
    """
    largest = np.finfo(np.float16).max
    return _packed(np.clip(rows, -largest, largest).astype("<f2"), FLOAT16)


def int8(rows: Rows) -> list[bytes]:
    """Serialize each row as an Embedding with packed signed bytes and their scale."""
    scales = np.abs(rows).max(axis=1, keepdims=True) / np.float32(127)
    scales = np.maximum(scales, np.finfo(np.float32).tiny)
    return _packed(np.rint(rows / scales).astype(np.int8), INT8, scales.astype("<f4"))


def _packed(
    rows: NDArray[np.generic], encoding: int, scales: NDArray[np.float32] | None = None
) -> list[bytes]:
    dimensions, form = number(3, rows.shape[1]), number(5, encoding)
    if scales is None:
        return [delimited(2, row.tobytes()) + dimensions + form for row in rows]
    return [
        delimited(2, row.tobytes()) + dimensions + b"\x25" + scale.tobytes() + form
        for row, scale in zip(rows, scales, strict=True)
    ]


ENCODERS: dict[int, Callable[[Rows], list[bytes]]] = {
    embedding_pb2.VECTOR_ENCODING_UNSPECIFIED: values,
    embedding_pb2.VECTOR_ENCODING_VALUES: values,
    FLOAT32: float32,
    FLOAT16: float16,
    INT8: int8,
}
"""The serializer of each VectorEncoding."""
