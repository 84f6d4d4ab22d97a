"""Calls that come through the gRPC proxy of Ray Serve, as the handlers of the services see them.

Ray Serve gives a deployment the message as bytes and a copy of the call's context, and sends the
status, the message of the status and the trailers that the copy has at the end. The deadline of the
caller is not in the copy. The proxy cancels the call when it has passed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, NoReturn

import grpc

from semserve_server.rpc.handlers import Handler, serialize

Trailers = tuple[tuple[str, str | bytes], ...]
_END = object()
"""Marks the end of the replies of a stream."""


class Bytes:
    """A reply that is serialized already, in the form that Ray Serve takes messages."""

    __slots__ = ("_content",)

    def __init__(self, content: bytes) -> None:
        self._content = content

    def SerializeToString(self) -> bytes:  # noqa: N802  (protobuf's name)
        """Return the bytes."""
        return self._content


class CallContext:
    """The part of `grpc.aio.ServicerContext` that the handlers use, over a context of Ray Serve."""

    def __init__(self, context: Any, max_message_bytes: int) -> None:
        """Wrap a context.

        Args:
            context: a `ray.serve.grpc_util.RayServegRPCContext`.
            max_message_bytes: most bytes of one message. The proxy has no such limit.
        """
        self._context = context
        self._max_message_bytes = max_message_bytes
        self._trailers: Trailers = ()
        self._done: list[Callable[[Any], None]] = []

    def peer(self) -> str:
        """Return the address of the caller."""
        return str(self._context.peer())

    def invocation_metadata(self) -> list[tuple[str, str]]:
        """Return the metadata of the call."""
        return list(self._context.invocation_metadata())

    def time_remaining(self) -> None:
        """Return None: Ray Serve does not pass the deadline on."""

    def trailing_metadata(self) -> Trailers:
        """Return the trailers."""
        return self._trailers

    def set_trailing_metadata(self, trailers: Trailers) -> None:
        """Set the trailers."""
        self._trailers = trailers

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Call a function when the call has ended."""
        self._done.append(callback)

    async def abort(self, code: grpc.StatusCode, details: str, trailers: Trailers = ()) -> NoReturn:
        """End the call with a status.

        Raises:
            AbortError: always.
        """
        self._context.set_code(code)
        self._context.set_details(details)
        self._trailers = trailers
        raise grpc.aio.AbortError

    async def refuse_large(self, message: bytes) -> None:
        """End the call if a message is too large, with the status that gRPC's server sends.

        Raises:
            AbortError: it is.
        """
        size, most = len(message), self._max_message_bytes
        if size > most:
            details = f"SERVER: Received message larger than max ({size} vs. {most})"
            await self.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, details)

    def end(self) -> None:
        """Pass the trailers to Ray Serve, and tell those who wait for the end of the call."""
        self._context.set_trailing_metadata(list(self._trailers))
        for callback in self._done:
            callback(self)


class StreamContext(CallContext):
    """The same for a stream of messages in both directions."""

    def __init__(
        self, context: Any, max_message_bytes: int, messages: AsyncIterator[bytes]
    ) -> None:
        """Wrap a context.

        Args:
            context: as of `CallContext`.
            max_message_bytes: likewise.
            messages: the messages of the caller.
        """
        super().__init__(context, max_message_bytes)
        self._messages = messages
        self._replies: asyncio.Queue[object] = asyncio.Queue(1)

    async def read(self) -> object:
        """Return the next message, or EOF."""
        try:
            message = await anext(self._messages)
        except StopAsyncIteration:
            return grpc.aio.EOF
        await self.refuse_large(message)
        return message

    async def write(self, reply: bytes) -> None:
        """Send a reply, when the one before was taken."""
        await self._replies.put(reply)

    async def replies(self, handler: Handler) -> AsyncIterator[bytes]:
        """Run the handler of the stream, and yield its replies."""
        task = asyncio.create_task(self._run(handler))
        try:
            while (reply := await self._replies.get()) is not _END:
                assert isinstance(reply, bytes)  # noqa: S101  (`write` takes nothing else)
                yield reply
            await task
        finally:
            task.cancel()
            self.end()

    async def _run(self, handler: Handler) -> None:
        answer: Any = handler.stream_stream
        try:
            await answer(None, self)
        except grpc.aio.AbortError:
            pass  # the context has the status
        finally:
            await self._replies.put(_END)


async def answer_call(handler: Handler, content: bytes, context: CallContext) -> bytes:
    """Run the handler of a unary call; empty if it ended with a status other than OK."""
    parse: Any = handler.request_deserializer
    answer: Any = handler.unary_unary
    try:
        await context.refuse_large(content)
        return serialize(await answer(parse(content), context))
    except grpc.aio.AbortError:
        return b""
    finally:
        context.end()
