"""Handlers for health and reflection, whose services come from gRPC.

Like the other handlers they accept any bytes. gRPC's own registration answers bytes that it cannot
parse with UNKNOWN, and logs a traceback.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import grpc
from google.protobuf.message import Message

from semserve_server.rpc.handlers import Context, Handler, Reply, serialize
from semserve_server.rpc.parsing import Malformed, parser, well_formed
from semserve_server.rpc.status import abort

log = logging.getLogger(__name__)

_Request = TypeVar("_Request", bound=Message)


def unary_handler(
    kind: type[_Request], answer: Callable[[_Request, Context], Awaitable[Reply]]
) -> Handler:
    """Create the handler of a unary RPC."""

    async def handle(request: _Request | Malformed[_Request], context: Context) -> Reply:
        try:
            return await answer(well_formed(request), context)
        except Exception as error:  # noqa: BLE001  (every error becomes a status)
            await abort(context, error)

    return grpc.unary_unary_rpc_method_handler(handle, parser(kind), serialize)


def server_stream_handler(
    kind: type[_Request], answer: Callable[[_Request, Context], Awaitable[None]]
) -> Handler:
    """Create the handler of a server-streaming RPC. `answer` writes to the context."""

    async def handle(request: _Request | Malformed[_Request], context: Context) -> None:
        try:
            await answer(well_formed(request), context)
        except grpc.aio.InternalError as error:
            log.debug("the caller of a stream cancelled: %s", error)
        except Exception as error:  # noqa: BLE001  (every error becomes a status)
            await abort(context, error)

    return grpc.unary_stream_rpc_method_handler(handle, parser(kind), serialize)


def bidi_handler(
    kind: type[_Request], answer: Callable[[AsyncIterator[_Request], Context], AsyncIterator[Reply]]
) -> Handler:
    """Create the handler of a bidirectional RPC. Bytes that are not a message end it."""

    async def handle(
        messages: AsyncIterator[_Request | Malformed[_Request]], context: Context
    ) -> None:
        try:
            async for reply in answer(_well_formed(messages), context):
                await context.write(reply)
        except grpc.aio.InternalError as error:
            log.debug("the caller of a stream cancelled: %s", error)
        except Exception as error:  # noqa: BLE001  (every error becomes a status)
            await abort(context, error)

    return grpc.stream_stream_rpc_method_handler(handle, parser(kind), serialize)


async def _well_formed(
    messages: AsyncIterator[_Request | Malformed[_Request]],
) -> AsyncIterator[_Request]:
    """Yield each message. Reading starts with the first iteration: a call may be refused before."""
    async for one in messages:
        yield well_formed(one)
