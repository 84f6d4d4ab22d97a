"""Registers the RPCs of semserve: parse, answer, translate errors, send.

Every method is registered here, so none can lack the translation of errors. Requests are parsed by
this code, because grpc.aio answers bytes that it cannot parse with UNKNOWN. Replies may be bytes
that are serialized already.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

import grpc
from google.protobuf.message import Message

from semserve_server.errors import Draining, InvalidRequest
from semserve_server.instrumentation.request_context import current
from semserve_server.rpc.encoding import stream_reply
from semserve_server.rpc.flow_control import Window
from semserve_server.rpc.invalid_utf8 import salvage_string
from semserve_server.rpc.parsing import MAX_FIELDS, Malformed, parser, well_formed
from semserve_server.rpc.reply_room import StreamRooms
from semserve_server.rpc.status import Failure, abort, failure
from semserve_server.rpc.unread_budget import UnreadBytes

log = logging.getLogger(__name__)

MAX_ID_BYTES = 128
"""Most bytes of the `id` of a stream's message."""

UNREAD = "the server is stopping: send the unanswered messages elsewhere"
"""Status message of a stream that the drain cut short."""

# Quoted, because these classes accept type arguments only in type checkers.
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Reply = Message | bytes
Handlers = dict[str, Handler]
"""Handlers by the name of the method."""
_Request = TypeVar("_Request", bound=Message)


def unary(
    kind: type[_Request],
    answer: Callable[[_Request, Context], Awaitable[Reply]],
    *,
    max_fields: int = MAX_FIELDS,
) -> Handler:
    """Create the handler of a unary RPC.

    Args:
        kind: type of the request.
        answer: makes the reply.
        max_fields: most texts or pairs of a request.
    """

    async def handle(request: _Request | Malformed[_Request], context: Context) -> bytes:
        try:
            # Serialized here, because gRPC answers a reply that it cannot serialize with UNKNOWN.
            return serialize(await answer(well_formed(request), context))
        except Exception as error:  # noqa: BLE001  (this is where every error becomes a status)
            await abort(context, error)

    return grpc.unary_unary_rpc_method_handler(
        handle, request_deserializer=parser(kind, max_fields)
    )


class StreamMessage(Protocol):
    """A message of a stream, such as `StreamEmbedRequest`."""

    id: str
    request: Any


@dataclass(frozen=True, slots=True)
class StreamShape:
    """The types of a stream's messages."""

    request: type[Message]
    response: type[Message]
    id_field: int = 1
    """Field number of the request's `id`."""

    def request_of(self, message: Any) -> Any:
        """Return the request in a message."""
        return message.request

    def reply(self, name: str, response: bytes) -> bytes:
        """Serialize the reply to a message around a serialized response."""
        return stream_reply(name, response)

    def error(self, name: str, failed: Failure) -> Message:
        """Create the reply to a message that failed."""
        return self.response(id=name, error=failed.status)


class Streams:
    """Answers streams, and ends all of them when the server drains."""

    def __init__(
        self, unread: UnreadBytes, new_window: Callable[[], Window], *, max_fields: int
    ) -> None:
        """Create a registry of streams.

        Args:
            unread: budget of unread replies over all connections.
            new_window: makes the limits of one stream.
            max_fields: most texts or pairs of a message.
        """
        self._unread = unread
        self._new_window = new_window
        self.max_fields = max_fields
        self._readers: set[asyncio.Task[None]] = set()
        self._draining = False

    def handler(
        self, shape: StreamShape, answer: Callable[[Any, Context], Awaitable[Reply]]
    ) -> Handler:
        """Create the handler of a bidirectional RPC. `answer` answers each message."""

        async def handle(_messages: object, context: Context) -> None:
            try:
                parse: Callable[[bytes], Any] = parser(shape.request, self.max_fields)
                stream = _Stream(shape, parse, answer, context, self.rooms(context))
                whole = await stream.serve(self)
            except Exception as error:  # noqa: BLE001  (every error becomes a status)
                await abort(context, error)
            if not whole:
                await abort(context, Draining(UNREAD))

        return grpc.stream_stream_rpc_method_handler(
            handle,
            # The reader counts the bytes of a message before it parses them.
            request_deserializer=None,
            response_serializer=serialize,
        )

    def rooms(self, context: Context) -> StreamRooms:
        """Create the limits of one stream, and the reservations of its messages."""
        return StreamRooms(self._unread, context.peer(), self._new_window())

    def drain(self) -> None:
        """Read no more messages. Messages that were read are answered, and then the streams end."""
        self._draining = True
        for reader in self._readers:
            reader.cancel()

    async def read(self, reader: asyncio.Task[None]) -> bool:
        """Wait for a stream's reader. False if the drain ended it."""
        self._readers.add(reader)
        if self._draining:
            reader.cancel()
        try:
            await asyncio.wait([reader])
        finally:
            self._readers.discard(reader)
        if reader.cancelled():
            return False
        reader.result()
        return True


class _Stream:
    """One stream.

    Reads while there is room, answers in any order, and frees room when replies are sent.
    """

    def __init__(
        self,
        shape: StreamShape,
        parse: Callable[[bytes], Any],
        answer: Callable[[Any, Context], Awaitable[Reply]],
        context: Context,
        rooms: StreamRooms,
    ) -> None:
        self._shape = shape
        self._parse = parse
        self._answer = answer
        self._context = context
        self._rooms = rooms
        # A message keeps its room until its reply is sent, which limits what a slow reader holds.
        self._window = rooms.window
        self._writing = asyncio.Lock()

    async def serve(self, streams: Streams) -> bool:
        """Answer messages until the client half-closes, or until the drain; False for the drain."""
        async with asyncio.TaskGroup() as tasks:
            reader = asyncio.create_task(self._read(tasks))
            try:
                whole = await streams.read(reader)
            finally:
                reader.cancel()
        return whole

    async def _read(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            await self._window.room()
            try:
                content = await self._context.read()
            except grpc.aio.InternalError as error:
                log.debug("the caller of a stream cancelled: %s", error)
                return
            if content is grpc.aio.EOF:
                return
            self._window.take(len(content))
            tasks.create_task(self._respond(content))

    async def _respond(self, content: bytes) -> None:
        size = len(content)
        room = self._rooms.room(size)
        try:
            with current().message():
                reply = serialize(await self._reply(self._parse(content)))
            del content  # An answer may wait for long until it is read.
            room.settle(len(reply))
            async with self._writing:
                await self._context.write(reply)
        except grpc.aio.InternalError as error:
            # The caller is gone, and gRPC is about to cancel the stream.
            log.debug("the caller of a stream cancelled: %s", error)
        finally:
            room.release()
            self._window.free(size)

    async def _reply(self, message: StreamMessage | Malformed[Any]) -> Reply:
        """Answer one message. Every error becomes its reply."""
        try:
            if isinstance(message, Malformed):
                name = salvage_string(
                    message.content, field=self._shape.id_field, max_bytes=MAX_ID_BYTES
                )
                return self._error(name, message.error())
            if len(message.id.encode()) > MAX_ID_BYTES:
                error = InvalidRequest.of("id", f"over {MAX_ID_BYTES} bytes")
                return self._error("", error)
            response = await self._answer(self._shape.request_of(message), self._context)
            return self._shape.reply(message.id, serialize(response))
        except Exception as error:  # noqa: BLE001  (every error becomes an answer)
            return self._error("" if isinstance(message, Malformed) else message.id, error)

    def _error(self, name: str, error: Exception) -> Message:
        failed = failure(error)
        current().set_error(failed.code.name, error)
        return self._shape.error(name, failed)


def serialize(reply: Reply) -> bytes:
    """Return the bytes of a reply."""
    return reply if isinstance(reply, bytes) else reply.SerializeToString()
