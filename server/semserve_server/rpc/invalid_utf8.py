"""Finds the strings of a serialized message that are not UTF-8. Protobuf does not name them.

Only requests that protobuf has refused come here, so the code is simple rather than fast.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from semserve_server.runtime.wire_format import DELIMITED, wire_fields

MAX_PATHS = 16
"""Most invalid strings that are named."""
MAX_FIELDS = 10_000
"""Most fields that are examined, about 10 ms of work. Strings beyond are not named."""


def invalid_strings(kind: type[Message], content: bytes) -> list[str]:
    """Return the paths of strings that are not UTF-8, such as `pairs[3].premise`.

    Empty if there are none, if they lie beyond the first `MAX_FIELDS` fields, or if the bytes are
    not a message.
    """
    paths: list[str] = []
    budget = iter(range(MAX_FIELDS))
    try:
        for path in _paths(cast("Descriptor", kind.DESCRIPTOR), content, "", budget):
            paths.append(path)
            if len(paths) == MAX_PATHS:
                break
    except ValueError:
        return []
    return paths


def salvage_string(content: bytes, *, field: int, max_bytes: int) -> str:
    """Return the top-level string with that field number, or "" if it cannot be read."""
    try:
        for number, value in islice(fields(content), MAX_FIELDS):
            if number == field and value is not None and len(value) <= max_bytes:
                return value.decode()
    except ValueError:
        pass
    return ""


def _paths(kind: Descriptor, content: bytes, prefix: str, budget: Iterator[int]) -> Iterator[str]:
    seen: dict[int, int] = {}
    for number, value in fields(content):
        if next(budget, None) is None:
            return
        field = kind.fields_by_number.get(number)
        if field is None or value is None:
            continue
        place = seen.get(number, 0)
        seen[number] = place + 1
        path = f"{prefix}{field.name}[{place}]" if field.is_repeated else f"{prefix}{field.name}"
        if field.type == FieldDescriptor.TYPE_MESSAGE and field.message_type is not None:
            yield from _paths(field.message_type, value, f"{path}.", budget)
        elif field.type == FieldDescriptor.TYPE_STRING and not _decodes(value):
            yield path


def _decodes(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def fields(content: bytes) -> Iterator[tuple[int, bytes | None]]:
    """Yield the number of each field, with its bytes if it is length-delimited.

    Raises:
        ValueError: the bytes are not a message.
    """
    for number, kind, start, stop in wire_fields(content):
        yield number, content[start:stop] if kind == DELIMITED else None
