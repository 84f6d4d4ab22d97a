"""The errors of calls: a flat tree, with one class for each possible reaction of a caller.

SemserveError             a call failed; the base class, raised itself for rare statuses
├── InvalidRequest        INVALID_ARGUMENT     change the request; `fields` has the places
├── ModelNotFound         NOT_FOUND            use a model that `models()` lists
├── Overloaded            RESOURCE_EXHAUSTED   wait `retry_after` seconds, or send less
├── Unavailable           UNAVAILABLE          nothing answers, or the server starts or stops
├── DeadlineExceeded      DEADLINE_EXCEEDED    allow more time, or request less
├── Unauthenticated       UNAUTHENTICATED      send a key
├── PermissionDenied      PERMISSION_DENIED    send another key
├── ClientClosed          CANCELLED            create another client: this one was closed
└── InternalError         INTERNAL, UNKNOWN    a fault of the server: report it
"""

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from google.rpc import code_pb2, error_details_pb2, status_pb2

if TYPE_CHECKING:
    import grpc

# Texts of gRPC's libraries for a message over a limit, with the status RESOURCE_EXHAUSTED.
_TOO_LARGE = re.compile(r"larger than max|exceeds maximum size", re.IGNORECASE)
_REPLY_TOO_LARGE = re.compile(r"CLIENT: Received", re.IGNORECASE)
# The trailers with a google.rpc.Status, and with the delay before a retry.
STATUS_DETAILS = "grpc-status-details-bin"
PUSHBACK = "grpc-retry-pushback-ms"
_MILLISECONDS = 1000


class SemserveError(Exception):
    """A call failed.

    Attributes:
        code: the gRPC status by name, such as `INVALID_ARGUMENT`.
        request_id: the `x-request-id` of the call, which the server's logs contain; empty if
            nothing was sent.
    """

    code: str = "UNKNOWN"
    request_id: str = ""


class InvalidRequest(SemserveError):
    """The request is invalid.

    Attributes:
        fields: what is wrong with which field, such as `{"texts[3]": "empty"}`.
        too_large: whether the request exceeds the server's limit for one message.
    """

    code = "INVALID_ARGUMENT"

    def __init__(
        self, message: str, *, fields: Mapping[str, str] | None = None, too_large: bool = False
    ) -> None:
        super().__init__(message)
        self.fields: dict[str, str] = dict(fields or {})
        self.too_large = too_large


class ModelNotFound(SemserveError):
    """The server has no model of this name."""

    code = "NOT_FOUND"


class Overloaded(SemserveError):
    """The server is overloaded.

    Attributes:
        retry_after: seconds after which to retry, if the server sent them.
        final: whether the server asks not to retry.
    """

    code = "RESOURCE_EXHAUSTED"

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.final = False


class Unavailable(SemserveError):
    """Nothing answers at the address, or the server is starting or stopping."""

    code = "UNAVAILABLE"


class DeadlineExceeded(SemserveError):
    """The reply did not arrive in time."""

    code = "DEADLINE_EXCEEDED"


class Unauthenticated(SemserveError):
    """The server requires a valid key."""

    code = "UNAUTHENTICATED"


class PermissionDenied(SemserveError):
    """The key does not have the right."""

    code = "PERMISSION_DENIED"


class ClientClosed(SemserveError):
    """The client was closed, before or during the call."""

    code = "CANCELLED"

    def __init__(self, message: str = "the client is closed: make another") -> None:
        super().__init__(message)


class InternalError(SemserveError):
    """The server failed to process a valid request."""

    code = "INTERNAL"


_BY_CODE: Mapping[str, type[SemserveError]] = {
    error.code: error
    for error in (
        ModelNotFound,
        Unavailable,
        DeadlineExceeded,
        Unauthenticated,
        PermissionDenied,
        InternalError,
    )
} | {"UNKNOWN": InternalError, "DATA_LOSS": InternalError}


_INTERNAL, _UNAVAILABLE = 13, 14
# What gRPC says where the stream of HTTP/2 was reset, as Envoy does to one whose server has died,
# and what grpc.aio says where a call could not begin on a connection that was being lost.
_RESET = re.compile(r"RST_STREAM|^Internal error from Core$")


def from_call(failed: "grpc.RpcError") -> SemserveError:
    """Create the error of a failed call, blocking or asyncio."""
    # Both libraries raise an error that is also the call. Only their stubs do not declare this.
    call: Any = failed
    trailers: dict[str, Any] = dict(call.trailing_metadata() or ())
    details = call.details() or ""
    status = _status_of(trailers)
    if status is None:
        code = call.code().value[0]
        if code == _INTERNAL and _RESET.search(details):
            code = (
                _UNAVAILABLE  # no server said so: a proxy lost its server in the middle of a call
            )
        status = status_pb2.Status(code=code, message=details)
    error = from_status(status)
    if isinstance(error, Overloaded) and _TOO_LARGE.search(details):
        error = _too_large(details)
    if isinstance(error, Overloaded) and PUSHBACK in trailers:
        pushback = str(trailers[PUSHBACK])
        error.final = not pushback.isdecimal()  # such as -1: do not come back
        if error.retry_after is None and not error.final:
            error.retry_after = int(pushback) / _MILLISECONDS
    error.__cause__ = failed
    return error


def _too_large(details: str) -> InvalidRequest:
    """Create the error of a message over a limit. A retry would fail too."""
    if _REPLY_TOO_LARGE.search(details):
        advice = (
            "ask for less at a time, or raise grpc.max_receive_message_length in channel_options"
        )
        return InvalidRequest(f"the reply is too large: {details}; {advice}")
    return InvalidRequest(
        f"the request is too large: {details}; send less at a time", too_large=True
    )


def from_status(status: status_pb2.Status) -> SemserveError:
    """Create the error of a google.rpc.Status in a result or a stream."""
    name = _name_of(status.code)
    message = status.message or name.lower().replace("_", " ")
    if name == InvalidRequest.code:
        return InvalidRequest(message, fields=_fields(status.details))
    if name == Overloaded.code:
        return Overloaded(message, retry_after=_retry_after(status.details))
    error = _BY_CODE.get(name, SemserveError)(message)
    error.code = name
    return error


def with_offset(error: SemserveError, field: str, offset: int) -> SemserveError:
    """Translate the indices in an error from one part of a list to the whole list.

    A list is split into requests, so the server's `texts[3]` may be the caller's `texts[259]`.
    Errors without such an index are returned unchanged.
    """
    if not isinstance(error, InvalidRequest) or not offset:
        return error
    place = re.compile(rf"\b{re.escape(field)}\[(\d+)\]")

    def move(text: str) -> str:
        return place.sub(lambda found: f"{field}[{int(found[1]) + offset}]", text)

    fields = {move(name): text for name, text in error.fields.items()}
    made = InvalidRequest(move(str(error)), fields=fields, too_large=error.too_large)
    made.request_id = error.request_id
    made.__cause__ = error.__cause__
    return made


def _status_of(trailers: Mapping[str, Any]) -> status_pb2.Status | None:
    packed = trailers.get(STATUS_DETAILS)
    return status_pb2.Status.FromString(packed) if isinstance(packed, bytes) else None


def _name_of(code: int) -> str:
    named: dict[int, str] = {number: name for name, number in code_pb2.Code.items()}
    return named.get(code, "UNKNOWN")


def _fields(details: Iterable[Any]) -> dict[str, str]:
    bad = error_details_pb2.BadRequest()
    found: dict[str, str] = {}
    for detail in details:
        if detail.Unpack(bad):
            found |= {violation.field: violation.description for violation in bad.field_violations}
    return found


def _retry_after(details: Iterable[Any]) -> float | None:
    info = error_details_pb2.RetryInfo()
    for detail in details:
        if detail.Unpack(info):
            return float(info.retry_delay.ToTimedelta().total_seconds())
    return None
