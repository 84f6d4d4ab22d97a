"""Translates exceptions to gRPC statuses, in one place for every RPC."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

from semserve_server.errors import (
    InferenceFailed,
    InvalidRequest,
    Overloaded,
    SemserveError,
    free_frames,
)
from semserve_server.instrumentation.request_context import current

log = logging.getLogger(__name__)

# A status is sent twice in HTTP/2 metadata, of which clients accept 8 KB: the message with up to
# three bytes for each byte, and the details (with the message) in base64, four bytes for three.
MAX_MESSAGE_BYTES = 512
"""Most UTF-8 bytes of a status message."""
MAX_VIOLATIONS = 16
"""Most field violations in one status."""
MAX_DESCRIPTION_BYTES = 128
"""Most UTF-8 bytes of the description of one field violation."""
MAX_OVERLOADS = 1024
"""Most statuses of overloads that are kept for the next refusals."""
DETAILS = "grpc-status-details-bin"
"""The trailer with the status and its details."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A status, with its details and trailing metadata."""

    code: grpc.StatusCode
    status: status_pb2.Status
    trailers: tuple[tuple[str, str | bytes], ...] = ()
    """The status is among them, serialized."""


def failure(error: Exception) -> Failure:
    """Translate an error to what the caller gets.

    An error that is not a SemserveError is a bug: it is logged with its traceback, and the caller
    gets a constant text.
    """
    failed = _translate(error)
    # gRPC keeps the error of an aborted call in a reference cycle, and with it the model.
    free_frames(error)
    return failed


def _translate(error: Exception) -> Failure:
    if not isinstance(error, SemserveError):
        log.error("an RPC failed. This is a bug.", exc_info=error)
        return _failure(grpc.StatusCode.INTERNAL, "internal error")
    code = grpc.StatusCode[error.status]
    message = str(error)
    match error:
        case InvalidRequest():
            return _failure(code, message, bad_request(error))
        case Overloaded():
            return _overloaded(message, max(round(error.retry_after * 1000), 1))
        case InferenceFailed():
            if error.__cause__ is not None:
                log.error("inference failed", exc_info=error)
            return _failure(code, message)
        case _:
            return _failure(code, message)


@lru_cache(maxsize=MAX_OVERLOADS)
def _overloaded(message: str, milliseconds: int) -> Failure:
    """Create the status of an overload. Calls that are refused in the same moment share it."""
    delay = duration_pb2.Duration()
    delay.FromMilliseconds(milliseconds)
    info = error_details_pb2.RetryInfo(retry_delay=delay)
    pushback = ("grpc-retry-pushback-ms", str(milliseconds))
    return _failure(grpc.StatusCode.RESOURCE_EXHAUSTED, message, info, trailers=(pushback,))


def bad_request(error: InvalidRequest) -> error_details_pb2.BadRequest:
    """Return the field violations, up to the limit."""
    return error_details_pb2.BadRequest(
        field_violations=[
            error_details_pb2.BadRequest.FieldViolation(
                field=violation.field,
                description=_cut(violation.description, MAX_DESCRIPTION_BYTES),
            )
            for violation in error.violations[:MAX_VIOLATIONS]
        ]
    )


async def abort(context: grpc.aio.ServicerContext[object, object], error: Exception) -> NoReturn:
    """End an RPC with the status of `error`."""
    if isinstance(error, grpc.aio.AbortError):
        raise error
    failed = failure(error)
    current().set_error(failed.code.name, error)
    await _end(context, failed)


async def abort_unknown(context: grpc.aio.ServicerContext[object, object]) -> NoReturn:
    """End a call of an unknown method with the status that gRPC itself would send."""
    current().code = grpc.StatusCode.UNIMPLEMENTED.name
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
    raise asyncio.InvalidStateError("abort returned")  # for the type checker: abort raises


async def _end(context: grpc.aio.ServicerContext[object, object], failed: Failure) -> NoReturn:
    trailers = (*(context.trailing_metadata() or ()), *failed.trailers)
    await context.abort(failed.code, failed.status.message, trailers)
    raise asyncio.InvalidStateError("abort returned")  # for the type checker: abort raises


def _failure(
    code: grpc.StatusCode,
    message: str,
    *details: error_details_pb2.BadRequest | error_details_pb2.RetryInfo,
    trailers: tuple[tuple[str, str | bytes], ...] = (),
) -> Failure:
    packed = []
    for detail in details:
        one = any_pb2.Any()
        one.Pack(detail)
        packed.append(one)
    message = _cut(message, MAX_MESSAGE_BYTES)
    status = status_pb2.Status(code=code.value[0], message=message, details=packed)
    return Failure(code, status, (*trailers, (DETAILS, status.SerializeToString())))


def _cut(text: str, most: int) -> str:
    """Shorten a text to `most` UTF-8 bytes."""
    content = text.encode()
    if len(content) <= most:
        return text
    return content[: most - len("…".encode())].decode(errors="ignore") + "…"
