"""What tests ask of a call: its status, with the fields that it names."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2


@dataclass(frozen=True, slots=True)
class Refusal:
    """How a call failed."""

    code: grpc.StatusCode
    message: str
    fields: dict[str, str]
    retry_seconds: float | None
    trailers: dict[str, str | bytes]


async def refusal(call: Awaitable[object]) -> Refusal:
    """Await a call that must fail, and tell how it did."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return _refusal_of(caught.value)


def refused(call: Callable[[Any], Any], request: Message) -> Refusal:
    """Make a blocking call that must fail, and tell how it did."""
    with pytest.raises(grpc.RpcError) as caught:
        call(request)
    return _refusal_of(caught.value)


def _refusal_of(error: Any) -> Refusal:
    trailers = dict(error.trailing_metadata() or ())
    details = trailers.get("grpc-status-details-bin", b"")
    status = status_pb2.Status.FromString(details)
    if details:
        assert (error.code().value[0], error.details()) == (status.code, status.message)
    bad_request, retry = error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    retried = False
    for detail in status.details:
        detail.Unpack(bad_request)
        retried |= detail.Unpack(retry)
    return Refusal(
        code=error.code(),
        message=error.details() or "",
        fields={one.field: one.description for one in bad_request.field_violations},
        retry_seconds=retry.retry_delay.ToMilliseconds() / 1000 if retried else None,
        trailers=trailers,
    )
