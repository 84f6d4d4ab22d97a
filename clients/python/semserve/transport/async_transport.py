# ruff: noqa: ASYNC109 - a timeout becomes the deadline on the wire, which the server obeys
"""Executes the work of the asyncio client, over a channel for each event loop."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
import grpc.aio

from semserve.calls import health
from semserve.calls.health import Health
from semserve.connection.options import Call, Options, Timeout
from semserve.connection.reply import Timing, trailing, with_call_details
from semserve.errors import ClientClosed, SemserveError
from semserve.requests.work import Answer, Batches, Method, Part, Results, Work
from semserve.transport.async_stream import AsyncStream
from semserve.transport.blocking_transport import Connection
from semserve.transport.window import Window

Result = TypeVar("Result")


class AsyncTransport(Options):
    """A connection to a server for each event loop. The first call of the loop opens it."""

    def _prepare(self) -> None:
        self._lock = threading.Lock()
        # gRPC binds a channel to its loop. Channels of closed loops are dropped when another loop
        # calls.
        self._connections: dict[asyncio.AbstractEventLoop, Connection] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. Calls in flight and later calls raise `ClientClosed`."""
        with self._lock:
            self._closed = True
            connections = dict(self._connections)
            self._connections.clear()
        running = asyncio.get_running_loop()
        for loop, connection in connections.items():
            if loop is running:
                await connection.channel.close()
            elif loop.is_running():  # in another thread
                asyncio.run_coroutine_threadsafe(connection.channel.close(), loop)

    def _method(self, method: Method) -> Any:
        """Return the gRPC callable of a method on the running loop.

        Raises:
            ClientClosed: the client is closed.
        """
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._closed:
                raise ClientClosed
            if loop not in self._connections:
                for other in [one for one in self._connections if one.is_closed()]:
                    del self._connections[other]
                self._connections[loop] = Connection(self._channel())
            return self._connections[loop].method(method)

    def _channel(self) -> grpc.aio.Channel:
        arguments = self._channel_arguments()
        if self._credentials is None:
            return grpc.aio.insecure_channel(self.address, arguments)
        return grpc.aio.secure_channel(self.address, self._credentials, arguments)

    async def _execute(
        self,
        work: Work[Result],
        timeout: Timeout,
        metadata: Mapping[str, str | bytes] | None,
    ) -> Result:
        """Execute work: one request, several in sequence, or over a stream."""
        call = self._call(timeout, metadata)
        results = Results(work, self._progress)
        batches = work.batches
        answers = self._answers(batches, call) if batches else self._send_parts(work, call)
        # Closed immediately if a part fails, so that the server can stop.
        async with aclosing(answers):
            async for answer in answers:
                results.take(answer)
        return results.whole()

    async def _send_parts(
        self, work: Work[Result], call: Call
    ) -> AsyncGenerator[Answer[Result], None]:
        for index, part in enumerate(work.parts):
            try:
                response, request_id, timing = await self._send(work.method, part, call)
            except SemserveError as error:
                yield part.failed(index, error)
            else:
                result = work.read(part.request, response)
                yield Answer(index, None, with_call_details(result, request_id, timing))

    async def _send(self, method: Method, part: Part, call: Call) -> tuple[Any, str, Timing | None]:
        """Send one request until it succeeds, with the retries of `Retry`.

        Returns:
            The response, the request id, and the server's times.

        Raises:
            SemserveError: the call failed.
        """
        started, attempt = time.monotonic(), 1
        while True:
            left = None if call.timeout is None else call.timeout - (time.monotonic() - started)
            with self._closed_errors():
                try:
                    rpc = self._method(method)(part.request, **self._call_arguments(call, left))
                    response = await rpc
                    trailers = await rpc.trailing_metadata()
                except grpc.RpcError as failed:
                    error = self._error(failed, call)
                    seconds = self._pause(error, attempt, left)
                    if seconds is None:
                        raise error from failed
                else:
                    return response, *trailing(trailers, call.request_id)
            await asyncio.sleep(seconds)
            attempt += 1

    def _stream(
        self,
        batches: Batches[Result],
        timeout: Timeout,
        metadata: Mapping[str, str | bytes] | None,
    ) -> AsyncGenerator[Answer[Result], None]:
        """Execute a stream of the caller's batches."""
        return self._answers(batches, self._call(timeout, metadata))

    async def _answers(
        self, batches: Batches[Result], call: Call
    ) -> AsyncGenerator[Answer[Result], None]:
        async def alone(index: int, part: Part) -> Answer[Result]:
            try:
                response, _, _ = await self._send(batches.single, part, call)
            except SemserveError as error:
                return part.failed(index, error)
            return batches.answered(index, part, response)

        def open_call() -> Any:
            return self._method(batches.method)(**self._call_arguments(call, None))

        with self._closed_errors():
            try:
                window = Window(batches, self._in_flight, self.retry)
                stream = AsyncStream(open_call, batches, window, alone)
                explain = partial(self._error, call=call)
                async with aclosing(stream.answers(call.timeout, explain)) as answers:
                    async for answer in answers:
                        yield answer.of(call.request_id)
            except SemserveError as error:
                error.request_id = error.request_id or call.request_id
                raise

    async def _watch(
        self, service: str, metadata: Mapping[str, str | bytes] | None
    ) -> AsyncIterator[Health]:
        request = health.request(service)
        call = self._call(None, metadata)
        watched = self._method(health.WATCH)(request, **self._call_arguments(call, None))
        try:
            with self._closed_errors():
                async for response in watched:
                    yield health.read(request, response)
        except grpc.RpcError as failed:
            raise self._error(failed, call) from failed
        finally:
            watched.cancel()

    @contextmanager
    def _closed_errors(self) -> Iterator[None]:
        """Raise `ClientClosed` for gRPC's errors in calls whose channel is closed.

        gRPC raises CancelledError, which has another meaning if nothing cancelled the task.
        """
        try:
            yield
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closed and (task is None or not task.cancelling()):
                raise ClientClosed from None
            raise
        except grpc.aio.UsageError:
            if self._closed:
                raise ClientClosed from None
            raise
