"""How every RPC of ours is registered: parse, answer, translate errors, write.

There is one way to register a method and it translates errors, so none can forget to. Requests are
parsed by hand, since grpc.aio answers one that it cannot parse with UNKNOWN, and answers may be
bytes that are spliced already.
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
from semserve_server.rpc.status import abort, failure
from semserve_server.rpc.unread_budget import UnreadBytes

log = logging.getLogger(__name__)

MAX_ID_BYTES = 128
"""Most bytes of the `id` of a stream's message."""

UNREAD = "the server is stopping: send what is unanswered elsewhere"
"""What a stream is told that was cut short by draining."""

# Quoted, since these classes take type arguments only in the eyes of the type checker.
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Reply = Message | bytes
Handlers = dict[str, Handler]
"""A method's name to what answers it."""
_Request = TypeVar("_Request", bound=Message)


def unary(
    kind: type[_Request],
    answer: Callable[[_Request, Context], Awaitable[Reply]],
    *,
    max_fields: int = MAX_FIELDS,
) -> Handler:
    """Make the handler of a unary RPC.

    Args:
        kind: the type of the request.
        answer: makes the answer.
        max_fields: most texts or pairs of a request.
    """

    async def handle(request: _Request | Malformed[_Request], context: Context) -> bytes:
        try:
            # Written here and not by gRPC, which answers what cannot be written with UNKNOWN.
            return serialize(await answer(well_formed(request), context))
        except Exception as error:  # noqa: BLE001  (this is where every error becomes a status)
            await abort(context, error)

    return grpc.unary_unary_rpc_method_handler(
        handle, request_deserializer=parser(kind, max_fields)
    )


class StreamMessage(Protocol):
    """A message of a stream: `StreamEmbedRequest` and its like."""

    id: str
    request: Any


@dataclass(frozen=True, slots=True)
class StreamShape:
    """The messages that wrap one stream's requests and answers."""

    request: type[Message]
    response: type[Message]


class Streams:
    """Answers streams, and ends them all when the server drains."""

    def __init__(
        self, unread: UnreadBytes, new_window: Callable[[], Window], *, max_fields: int
    ) -> None:
        """Make a registry of streams.

        Args:
            unread: bytes of answers that clients have not read, over all connections.
            new_window: makes the bounds of one stream.
            max_fields: most texts or pairs of a message.
        """
        self._unread = unread
        self._new_window = new_window
        self._max_fields = max_fields
        self._readers: set[asyncio.Task[None]] = set()
        self._draining = False

    def handler(
        self, shape: StreamShape, answer: Callable[[Any, Context], Awaitable[Reply]]
    ) -> Handler:
        """Make the handler of a bidirectional RPC whose messages `answer` answers."""

        async def handle(_messages: object, context: Context) -> None:
            try:
                rooms = StreamRooms(self._unread, context.peer(), self._new_window())
                parse: Callable[[bytes], Any] = parser(shape.request, self._max_fields)
                whole = await _Stream(shape, parse, answer, context, rooms).serve(self)
            except Exception as error:  # noqa: BLE001  (every error becomes a status)
                await abort(context, error)
            if not whole:
                await abort(context, Draining(UNREAD))

        return grpc.stream_stream_rpc_method_handler(
            handle,
            # The reader counts a message's bytes before it parses them.
            request_deserializer=None,
            response_serializer=serialize,
        )

    def drain(self) -> None:
        """Read no more; what has been read is answered, and then the streams end."""
        self._draining = True
        for reader in self._readers:
            reader.cancel()

    async def read(self, reader: asyncio.Task[None]) -> bool:
        """Wait for a stream's reader; False where draining has cut it off."""
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
    """One stream: reads while there is room, answers in any order, makes room as answers leave."""

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
        # A message has its room until its answer is written, so a slow reader holds at most that.
        self._window = rooms.window
        self._writing = asyncio.Lock()

    async def serve(self, streams: Streams) -> bool:
        """Answer until the client's half-close, or until the server drains; False for that."""
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
                log.debug("a stream's caller left: %s", error)
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
            # There is nobody to answer; gRPC is about to cancel the stream.
            log.debug("a stream's caller left: %s", error)
        finally:
            room.release()
            self._window.free(size)

    async def _reply(self, message: StreamMessage | Malformed[Any]) -> Reply:
        """Answer one message; whatever goes wrong with it is its answer."""
        try:
            if isinstance(message, Malformed):
                name = salvage_string(message.content, field=1, max_bytes=MAX_ID_BYTES)
                return self._error(name, message.error())
            if len(message.id.encode()) > MAX_ID_BYTES:
                error = InvalidRequest.of("id", f"over {MAX_ID_BYTES} bytes")
                return self._error("", error)
            response = await self._answer(message.request, self._context)
            return stream_reply(message.id, serialize(response))
        except Exception as error:  # noqa: BLE001  (every error becomes an answer)
            return self._error("" if isinstance(message, Malformed) else message.id, error)

    def _error(self, name: str, error: Exception) -> Message:
        failed = failure(error)
        current().set_error(failed.code.name, error)
        return self._shape.response(id=name, error=failed.status)


def serialize(reply: Reply) -> bytes:
    """Return the bytes of an answer."""
    return reply if isinstance(reply, bytes) else reply.SerializeToString()
