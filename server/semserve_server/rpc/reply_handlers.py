"""Reserves memory for the reply of every unary call, until the client has read the reply."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from semserve_server.rpc.handlers import Context, Handler, Handlers, serialize
from semserve_server.rpc.reply_room import CallRoom, use_room
from semserve_server.rpc.unread_budget import UnreadBytes


def with_reply_rooms(handlers: Handlers, unread: UnreadBytes) -> Handlers:
    """Return the handlers of a service.

    Unary handlers reserve memory for their replies in `unread`.

    Streams reserve memory for each message by themselves.
    """
    return {
        name: handler if handler.response_streaming else _with_reply_room(handler, unread)
        for name, handler in handlers.items()
    }


def _with_reply_room(handler: Handler, unread: UnreadBytes) -> Handler:
    answer: Any = handler.unary_unary
    parse: Callable[[bytes], Any] = handler.request_deserializer  # type: ignore[assignment]

    async def handle(received: tuple[int, Any], context: Context) -> bytes:
        size, request = received
        room = CallRoom(unread, context.peer(), size)
        # gRPC calls this when the transport has taken the reply, and when the call ends otherwise.
        context.add_done_callback(lambda _: room.release())  # type: ignore[arg-type]  # its stub
        use_room(room)
        reply = serialize(await answer(request, context))
        room.settle(len(reply))
        return reply

    return grpc.unary_unary_rpc_method_handler(
        handle,
        request_deserializer=lambda content: (len(content), parse(content)),
        response_serializer=serialize,
    )
