"""Streams without ids, for APIs of other platforms: replies keep the order of the messages."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import Message

from semserve_server.errors import Draining, InvalidRequest
from semserve_server.instrumentation.request_context import current
from semserve_server.rpc.handlers import UNREAD, Context, Handler, Reply, Streams, serialize
from semserve_server.rpc.parsing import parser, well_formed
from semserve_server.rpc.reply_room import MessageRoom, use_room
from semserve_server.rpc.status import abort, failure

log = logging.getLogger(__name__)

Answer = Callable[[Any, Context], Awaitable[Reply]]


def ordered_stream(streams: Streams, kind: type[Message], answer: Answer) -> Handler:
    """Create the handler of a bidirectional RPC whose messages have no id.

    Messages are computed side by side and answered in their order. The first one that fails ends
    the stream with its status, after the replies to the messages before it.

    Args:
        streams: the limits of streams, and their drain.
        kind: type of the messages.
        answer: answers each message.
    """

    async def handle(_messages: object, context: Context) -> None:
        whole = True
        try:
            whole = await _OrderedStream(streams, kind, answer, context).serve()
        except grpc.aio.InternalError as error:
            log.debug("the caller of a stream cancelled: %s", error)
        except Exception as error:  # noqa: BLE001  (every error becomes a status)
            await abort(context, error)
        if not whole:
            await abort(context, Draining(UNREAD))

    return grpc.stream_stream_rpc_method_handler(
        handle, request_deserializer=None, response_serializer=serialize
    )


def collecting_stream(
    streams: Streams,
    kind: type[Message],
    answer: Callable[[Sequence[Any], Context], Awaitable[Reply]],
    *,
    max_bytes: int,
) -> Handler:
    """Create the handler of an RPC that answers all messages of the caller with one reply.

    Args:
        streams: the limits of streams, and their drain.
        kind: type of the messages.
        answer: answers the messages together, after the caller's half-close.
        max_bytes: most bytes of all messages.
    """

    async def handle(_messages: object, context: Context) -> None:
        contents: list[bytes] = []
        rooms = streams.rooms(context)
        try:
            reader = asyncio.create_task(
                _read_all(context, contents, streams.max_fields, max_bytes=max_bytes)
            )
            try:
                whole = await streams.read(reader)
            finally:
                reader.cancel()
            if not whole:
                raise Draining(UNREAD)  # noqa: TRY301  (every error becomes a status below)
            parse: Callable[[bytes], Any] = parser(kind)
            room = rooms.room(sum(map(len, contents)))
            try:
                with current().message():
                    messages = [well_formed(parse(content)) for content in contents]
                    reply = serialize(await _counted(answer(messages, context)))
                room.settle(len(reply))
                await context.write(reply)
            finally:
                room.release()
        except grpc.aio.InternalError as error:
            log.debug("the caller of a stream cancelled: %s", error)
        except Exception as error:  # noqa: BLE001  (every error becomes a status)
            await abort(context, error)

    # To the transport this is a stream that writes one message.
    return grpc.stream_stream_rpc_method_handler(
        handle, request_deserializer=None, response_serializer=serialize
    )


async def _read_all(
    context: Context, contents: list[bytes], max_messages: int, *, max_bytes: int
) -> None:
    """Read all messages of a stream.

    Raises:
        InvalidRequest: there are too many messages, or too many bytes.
    """
    size = 0
    while (content := await context.read()) is not grpc.aio.EOF:
        size += len(content)
        if len(contents) == max_messages:
            raise InvalidRequest.of(
                "", f"over {max_messages} messages, at most {max_messages}: open several streams"
            )
        if size > max_bytes:
            raise InvalidRequest.of(
                "", f"{size} bytes of messages, at most {max_bytes}: open several streams"
            )
        contents.append(content)


async def _counted(answer: Awaitable[Reply]) -> Reply:
    """Wait for the reply to a message, and note the status of a failure in its context."""
    try:
        return await answer
    except Exception as error:
        current().set_error(failure(error).code.name, error)
        raise


@dataclass(frozen=True, slots=True, eq=False)
class _Pending:
    """A message that was read and whose reply was not sent yet."""

    size: int
    reply: asyncio.Task[bytes]
    room: MessageRoom


class _OrderedStream:
    """One stream. Reads while there is room, and writes the replies in the order of reading."""

    def __init__(
        self, streams: Streams, kind: type[Message], answer: Answer, context: Context
    ) -> None:
        self._streams = streams
        self._parse: Callable[[bytes], Any] = parser(kind, streams.max_fields)
        self._answer = answer
        self._context = context
        self._rooms = streams.rooms(context)
        # The window bounds the queue: a message keeps its place until its reply is sent.
        self._window = self._rooms.window
        self._queue: asyncio.Queue[_Pending | None] = asyncio.Queue()
        self._pending: set[_Pending] = set()

    async def serve(self) -> bool:
        """Answer messages until the client half-closes, or until the drain; False for the drain.

        Raises:
            Exception: the error of the first message that fails.
        """
        reader = asyncio.create_task(self._read())
        reading = asyncio.create_task(self._streams.read(reader))
        try:
            while (pending := await self._queue.get()) is not None:
                await self._context.write(await pending.reply)
                self._end(pending)
            return await reading
        finally:
            left = [reader, reading, *(one.reply for one in self._pending)]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            for pending in list(self._pending):
                self._end(pending)

    async def _read(self) -> None:
        try:
            while True:
                await self._window.room()
                content = await self._context.read()
                if content is grpc.aio.EOF:
                    return
                self._window.take(len(content))
                self._begin(content)
        finally:
            self._queue.put_nowait(None)

    def _begin(self, content: bytes) -> None:
        # A message keeps its room until its reply is sent, which limits what a slow reader holds.
        room = MessageRoom(self._rooms, len(content))
        reply = asyncio.create_task(self._respond(content, room))
        pending = _Pending(len(content), reply, room)
        self._pending.add(pending)
        self._queue.put_nowait(pending)

    async def _respond(self, content: bytes, room: MessageRoom) -> bytes:
        use_room(room)
        with current().message():
            reply = serialize(await _counted(self._reply(content)))
        room.settle(len(reply))
        return reply

    async def _reply(self, content: bytes) -> Reply:
        return await self._answer(well_formed(self._parse(content)), self._context)

    def _end(self, pending: _Pending) -> None:
        self._pending.discard(pending)
        self._window.free(pending.size)
        pending.room.release()
