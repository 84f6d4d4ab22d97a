"""Protobuf's wire format: the places of the fields of a message, and bytes of new fields."""

from __future__ import annotations

from collections.abc import Iterator

VARINT, FIXED64, DELIMITED, FIXED32 = 0, 1, 2, 5
"""The wire types; groups are not used."""
_SIZES = {FIXED64: 8, FIXED32: 4}


def wire_fields(
    content: bytes | memoryview, at: int = 0, stop: int | None = None
) -> Iterator[tuple[int, int, int, int]]:
    """Yield each field's number, its wire type, and the start and end of its value.

    Args:
        content: holds the message.
        at: where the message begins.
        stop: where it ends; None for the end of the content.

    Raises:
        ValueError: the bytes are not a message.
    """
    stop = len(content) if stop is None else stop
    while at < stop:
        tag, start = varint(content, at)
        kind = tag & 7
        if kind == VARINT:
            _, at = varint(content, start)
        elif kind == DELIMITED:
            size, start = varint(content, start)
            at = start + size
        elif kind in _SIZES:
            at = start + _SIZES[kind]
        else:
            raise ValueError(f"wire type {kind}")
        if at > stop:
            raise ValueError("a field extends beyond its message")
        yield tag >> 3, kind, start, at


def varint(content: bytes | memoryview, at: int) -> tuple[int, int]:
    """Return a varint and the place after it.

    Raises:
        ValueError: it has no end.
    """
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(content):
            break
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004  (the bit that says "more bytes follow")
            return value, at
    raise ValueError("a varint has no end")


def encode_varint(value: int) -> bytes:
    """Encode a non-negative integer."""
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004  (seven bits a byte)
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_delimited(number: int, content: bytes) -> bytes:
    """Encode a string, bytes or message field."""
    return encode_varint(number << 3 | DELIMITED) + encode_varint(len(content)) + content
