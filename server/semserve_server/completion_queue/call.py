"""One call: its operations on the completion queue, the task of its handler, and its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, NoReturn, Protocol, TypeAlias

import grpc
from grpc._cython import cygrpc  # type: ignore[attr-defined]  # it is private

from semserve_server.completion_queue.context import CallContext, Metadata
from semserve_server.rpc.handlers import Handler

log = logging.getLogger(__name__)

NO_FLAGS = 0
OK: int = grpc.StatusCode.OK.value[0]
STREAM_TURNS = 4
"""Turns of the event loop before the handler of a stream starts. grpc.aio's client reports INTERNAL
instead of the status of a stream that is refused while its first message is being sent, and the
handler of grpc.aio's server starts that late."""

Event: TypeAlias = Any
"""A completed batch, `cygrpc.BatchOperationEvent`."""


class Host(Protocol):
    """The server of a call."""

    stopped: bool
    """Whether gRPC's server has stopped. An operation that starts then would crash the process."""

    async def handler(self, call: Call) -> Handler:
        """Find the handler of a call whose caller is not known yet."""

    def is_stream(self, path: str) -> bool:
        """Return whether callers send a stream to a method, as far as is known."""

    def ended(self, call: Call) -> None:
        """Forget a call, which has ended."""


class Call(CallContext):
    """A call, and the context of its handler, with the methods of `grpc.aio.ServicerContext`."""

    __slots__ = (
        "_client_left", "_closed", "_early", "_host", "_initial_sent", "_receiving", "_running",
        "_sending_status", "_status_sent", "_task", "_waiter", "_watched", "handler", "path",
        "received_request",
    )  # fmt: skip

    def __init__(self, host: Host, event: Any, path: str, handler: Handler | None) -> None:
        """Create a call that has not begun.

        Args:
            host: the server.
            event: the `cygrpc.RequestCallEvent` of the call.
            path: path of the method.
            handler: None if the caller must be checked first; then `Host.handler` finds it.
        """
        super().__init__(event)
        self._host = host
        self.path = path
        self.handler = handler
        """None until it is found."""
        self._task: asyncio.Task[None] | None = None
        self._waiter: asyncio.Future[bytes | None] | None = None
        self._early: list[bytes | None] = []
        self._initial_sent = self._status_sent = self._sending_status = False
        self._running = self._receiving = self._watched = self._closed = self._client_left = False
        self.received_request = False
        """Whether the request of a call with one request has arrived."""

    # The methods that handlers use.

    async def read(self) -> Any:
        """Return the next message of a stream, or `grpc.aio.EOF`."""
        content = await self._receive()
        if content is None:
            return grpc.aio.EOF
        parse = self.handler.request_deserializer if self.handler else None
        return parse(content) if parse else content

    async def write(self, message: Any) -> None:
        """Send a message, and wait until the transport has taken it.

        Raises:
            grpc.aio.InternalError: the caller is gone.
        """
        self._check()
        serialize = self.handler.response_serializer if self.handler else None
        content = serialize(message) if serialize else message
        written = asyncio.get_running_loop().create_future()

        def done(event: Event) -> None:
            if not written.done():
                written.set_result(event.success)

        self._start([*self._initial_metadata(), cygrpc.SendMessageOperation(content, 0)], done)
        if not await written:
            raise grpc.aio.InternalError("the message was not sent: the call has ended")

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()
    ) -> NoReturn:
        """End the call with a status.

        Raises:
            grpc.aio.AbortError: always.
        """
        self._check()
        self._trailers = trailing_metadata or self._trailers
        self._send_status(code.value[0], details)
        raise grpc.aio.AbortError("the handler ended the call")

    # Events of the completion queue, on the event loop.

    def begin(self) -> None:
        """Start to read the only request of a new call; for other calls, start the handler."""
        if self.handler is None or self.handler.request_streaming:
            self._watch()
            self._run_later(STREAM_TURNS if self._host.is_stream(self.path) else 0)
        else:
            self._receiving = True
            operations = (cygrpc.ReceiveMessageOperation(NO_FLAGS),)
            self._core.start_server_batch(operations, self._request_received)

    def _run_later(self, turns: int) -> None:
        """Start the handler after some iterations of the event loop."""
        if turns:
            asyncio.get_running_loop().call_soon(self._run_later, turns - 1)
        else:
            self._run()

    def _run(self, content: bytes | None = None) -> None:
        """Start the task of the handler.

        Args:
            content: the request, if it has arrived.
        """
        self._running = True
        self._task = asyncio.get_running_loop().create_task(self._answer(content))

    def _request_received(self, event: Event) -> None:
        """Run the handler of a call with one request."""
        self._receiving = False
        content = event.batch_operations[0].message()
        if content is None:  # the caller has left, or gRPC has refused the message
            self._watch()
            return
        self._run(content)
        # After the first step of the handler, which may have sent the status.
        asyncio.get_running_loop().call_soon(self._watch)

    def _watch(self) -> None:
        """Ask for the end of the call, unless that was done, such as with the status."""
        if not self._watched and not self._host.stopped:
            self._watched = True
            operations = (cygrpc.ReceiveCloseOnServerOperation(NO_FLAGS),)
            self._core.start_server_batch(operations, self._close_received)

    def _close_received(self, event: Event) -> None:
        """Note that the call is over for gRPC, and cancel a handler that still works."""
        self._closed = True
        self._client_left = event.batch_operations[-1].cancelled()
        if self._client_left and self._task is not None and not self._status_sent:
            self._task.cancel()
        self._end_if_over()

    def _message_received(self, event: Event) -> None:
        self._receiving = False
        content = event.batch_operations[0].message()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(content)
        else:
            self._early.append(content)

    def _status_was_sent(self, _event: Event) -> None:
        self._sending_status = False
        self._end_if_over()

    def _status_was_sent_and_close_received(self, event: Event) -> None:
        self._sending_status = False
        self._close_received(event)

    # The task of the handler.

    async def _answer(self, content: bytes | None) -> None:
        try:
            if not self._client_left:
                await self._handle(content)
        except grpc.aio.AbortError:
            pass
        except asyncio.CancelledError:
            log.debug("%s: the caller cancelled, or its deadline passed", self.path)
        except Exception as error:
            if self._closed:
                log.debug("%s: a caller left before its reply: %s", self.path, error)
            else:
                log.exception("%s: the handler failed. This is a bug.", self.path)
                if not self._status_sent:
                    self._send_status(grpc.StatusCode.UNKNOWN.value[0], "the handler failed")
        finally:
            self._running = False
            self._task = None
            self._end_if_over()

    async def _handle(self, content: bytes | None) -> None:
        if self.handler is None:
            self.handler = await self._host.handler(self)
        handler: Any = self.handler  # grpcio declares the functions of its synchronous server
        reply = None
        if handler.request_streaming:
            await handler.stream_stream(self._messages(), self)
        else:
            if content is None and (content := await self._receive()) is None:
                return
            self.received_request = True
            parse = handler.request_deserializer
            request = parse(content) if parse else content
            if handler.response_streaming:
                await handler.unary_stream(request, self)
            else:
                reply = await handler.unary_unary(request, self)
                if handler.response_serializer:
                    reply = handler.response_serializer(reply)
        if not self._status_sent:
            self._send_status(OK, "", reply)

    async def _messages(self) -> AsyncIterator[Any]:
        while (message := await self.read()) is not grpc.aio.EOF:
            yield message

    async def _receive(self) -> bytes | None:
        """Return the bytes of the next message; None if there is none."""
        self._check()
        if self._early:
            return self._early.pop()
        if not self._receiving:
            self._receiving = True
            self._start([cygrpc.ReceiveMessageOperation(NO_FLAGS)], self._message_received)
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            return await self._waiter
        finally:
            self._waiter = None

    def _send_status(self, code: int, details: str, reply: bytes | None = None) -> None:
        operations = self._initial_metadata()
        if reply is not None:
            operations.append(cygrpc.SendMessageOperation(reply, NO_FLAGS))
        operations.append(
            cygrpc.SendStatusFromServerOperation(self._trailers, code, details.encode(), NO_FLAGS)
        )
        done: Callable[[Event], None] = self._status_was_sent
        if not self._watched:
            operations.append(cygrpc.ReceiveCloseOnServerOperation(NO_FLAGS))
            done = self._status_was_sent_and_close_received
        self._status_sent = True
        self._start(operations, done)
        self._watched = self._sending_status = True

    def _initial_metadata(self) -> list[Any]:
        """Return the operation that sends it, if it was not sent."""
        if self._initial_sent:
            return []
        self._initial_sent = True
        return [cygrpc.SendInitialMetadataOperation(None, NO_FLAGS)]

    def _check(self) -> None:
        if self._status_sent:
            raise grpc.aio.UsageError("the call has its status already")

    def _start(self, operations: list[Any], done: Callable[[Event], None]) -> None:
        """Start operations. `done` is called on the event loop when all have completed.

        Raises:
            grpc.aio.InternalError: the operations cannot start.
        """
        if self._host.stopped:
            raise grpc.aio.InternalError("the server has stopped")
        if failed := self._core.start_server_batch(operations, done):
            raise grpc.aio.InternalError(f"gRPC refused operations of a call, error {failed}")

    def _end_if_over(self) -> None:
        if self._running or self._sending_status:
            return
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(self)
        if self._closed:
            self._host.ended(self)
