"""Parses requests. grpc.aio would answer bytes that it cannot parse with UNKNOWN."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.message import DecodeError, Message

from semserve_server.errors import InvalidRequest, Violation
from semserve_server.rpc.field_count import FEW_BYTES, crowded_field
from semserve_server.rpc.invalid_utf8 import invalid_strings

MAX_FIELDS = 2048
"""Default limit of texts or pairs in a message."""

_Request = TypeVar("_Request", bound=Message)


@dataclass(frozen=True, slots=True)
class Malformed(Generic[_Request]):
    """Bytes that are not a message of their type."""

    kind: type[_Request]
    content: bytes

    def error(self) -> InvalidRequest:
        """Return the error. It names the strings that are not UTF-8.

        The path of a field is relative to the request, also if a stream's message contains it.
        """
        paths = [p.removeprefix("request.") for p in invalid_strings(self.kind, self.content)]
        if not paths:
            name = self.kind.DESCRIPTOR.full_name
            return InvalidRequest.of("", f"the bytes are not a {name} message with valid UTF-8")
        return InvalidRequest(*(Violation(path, "is not valid UTF-8") for path in paths))


@dataclass(frozen=True, slots=True)
class Crowded(Malformed[_Request]):
    """Bytes with too many fields to be parsed."""

    field: str
    most: int

    def error(self) -> InvalidRequest:
        """Return an error that names the field."""
        return InvalidRequest.of(
            self.field,
            f"over {self.most} texts, at most {self.most} a request: "
            "send several requests, or stream",
        )


def well_formed(request: _Request | Malformed[_Request]) -> _Request:
    """Return the request.

    Raises:
        InvalidRequest: the request is malformed.
    """
    if isinstance(request, Malformed):
        raise request.error()
    return request


def parser(
    kind: type[_Request], max_fields: int = MAX_FIELDS
) -> Callable[[bytes], _Request | Malformed[_Request]]:
    """Create a parser for messages of a type. The parser never raises.

    Args:
        kind: the type.
        max_fields: most texts or pairs; a message with many more is not parsed.
    """

    def parse(content: bytes) -> _Request | Malformed[_Request]:
        if len(content) >= FEW_BYTES:
            crowded = crowded_field(kind, content, max_fields)
            if crowded is not None:
                return Crowded(kind, content, crowded, max_fields)
        try:
            return kind.FromString(content)
        except DecodeError:
            return Malformed(kind, content)

    return parse
