"""Finds the strings of a serialized message that are not UTF-8, which protobuf does not name.

Only requests that protobuf has refused come here, so this is plain rather than quick.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

MAX_PATHS = 16
"""Most bad strings that are named."""

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def invalid_strings(kind: type[Message], content: bytes) -> list[str]:
    """Return the paths of strings that are not UTF-8, such as `pairs[3].premise`.

    Empty where there are none, and also where the bytes are no message at all.
    """
    try:
        return _paths(cast("Descriptor", kind.DESCRIPTOR), content, prefix="")[:MAX_PATHS]
    except ValueError:
        return []


def salvage_string(content: bytes, *, field: int, max_bytes: int) -> str:
    """Return the top-level string of that number, or "" where it cannot be read."""
    try:
        found = [value for number, value in _fields(content) if number == field]
        last = found[-1] if found else b""
        return last.decode() if isinstance(last, bytes) and len(last) <= max_bytes else ""
    except ValueError:
        return ""


def _paths(kind: Descriptor, content: bytes, prefix: str) -> list[str]:
    paths: list[str] = []
    seen: dict[int, int] = {}
    for number, value in _fields(content):
        field = kind.fields_by_number.get(number)
        if field is None or value is None:
            continue
        place = seen.get(number, 0)
        seen[number] = place + 1
        path = f"{prefix}{field.name}[{place}]" if field.is_repeated else f"{prefix}{field.name}"
        if field.type == FieldDescriptor.TYPE_MESSAGE and field.message_type is not None:
            paths += _paths(field.message_type, value, f"{path}.")
        elif field.type == FieldDescriptor.TYPE_STRING and not _decodes(value):
            paths.append(path)
        if len(paths) >= MAX_PATHS:
            break
    return paths


def _decodes(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _fields(content: bytes) -> Iterator[tuple[int, bytes | None]]:
    """Yield the number of each field, with its bytes where it has a length.

    Raises:
        ValueError: the bytes are no message.
    """
    at = 0
    while at < len(content):
        tag, at = _varint(content, at)
        value = None
        match tag & 7:
            case kind if kind == _VARINT:
                _, at = _varint(content, at)
            case kind if kind == _FIXED64:
                at += 8
            case kind if kind == _FIXED32:
                at += 4
            case kind if kind == _LENGTH:
                length, at = _varint(content, at)
                value = content[at : at + length]
                at += length
            case _:
                raise ValueError("groups and unknown wire types are not used here")
        if at > len(content):
            raise ValueError("a field reaches beyond the message")
        yield tag >> 3, value


def _varint(content: bytes, at: int) -> tuple[int, int]:
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
