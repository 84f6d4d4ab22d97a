# ruff: noqa: ASYNC109 - a timeout becomes the deadline on the wire, which the server obeys
"""How the asyncio client carries out work: a channel, and two tasks more for each stream."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable
from contextlib import aclosing, suppress
from functools import cached_property
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from semserve import health
from semserve.ending import Ending
from semserve.errors import from_call
from semserve.health import Health
from semserve.options import Options
from semserve.window import Window, early_error, late_error
from semserve.work import Answer, Batches, Method, Results, Work

Result = TypeVar("Result")


class AsyncWire(Options):
    """A connection to a server, opened by the first call and bound to its event loop."""

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
        """Close the connection; calls in flight are cancelled, and later ones fail."""
        await self._channel.close()

    @cached_property
    def _channel(self) -> grpc.aio.Channel:
        arguments = self._channel_arguments()
        if self._credentials is None:
            return grpc.aio.insecure_channel(self.address, arguments)
        return grpc.aio.secure_channel(self.address, self._credentials, arguments)

    async def _do(self, work: Work[Result], timeout: float | None) -> Result:
        """Carry out work: one request, one after the other, or over a stream."""
        results = Results(work, self._progress)
        batches = work.batches
        answers = self._stream(batches, timeout) if batches else self._ask(work, timeout)
        # Closed at once where a part fails, so that the server need not go on.
        async with aclosing(answers):
            async for answer in answers:
                results.take(answer)
        return results.whole()

    async def _ask(
        self,
        work: Work[Result],
        timeout: float | None,
    ) -> AsyncGenerator[Answer[Result], None]:
        ask = self._rpc(self._channel.unary_unary, work.method)
        for index, part in enumerate(work.parts):
            try:
                response = await ask(part.request, **self._how(self._seconds(timeout)))
            except grpc.RpcError as failed:
                yield Answer(index, part.explain(from_call(failed)), None)
            else:
                yield Answer(index, None, work.read(part.request, response))

    async def _stream(
        self,
        batches: Batches[Result],
        timeout: float | None,
    ) -> AsyncGenerator[Answer[Result], None]:
        call = self._rpc(self._channel.stream_stream, batches.method)(**self._how(None))
        window = Window(batches, self._in_flight, self.retry)
        stream = AsyncStream(call, batches, window)
        async with aclosing(stream.answers(self._seconds(timeout))) as answers:
            async for answer in answers:
                yield answer

    async def _watch(self, service: str) -> AsyncIterator[Health]:
        request = health.request(service)
        call = self._rpc(self._channel.unary_stream, health.WATCH)(request, **self._how(None))
        try:
            async for response in call:
                yield health.read(request, response)
        except grpc.RpcError as failed:
            raise from_call(failed) from failed
        finally:
            call.cancel()

    def _rpc(self, kind: Callable[..., Any], method: Method) -> Any:
        return kind(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )


class AsyncStream(Generic[Result]):
    """The requests of one stream, sent by two tasks of its own, and the answers as they come.

    Args:
        call: what gRPC returned for the stream.
        batches: what to send.
        window: what has been sent and not yet been answered.
    """

    def __init__(self, call: Any, batches: Batches[Result], window: Window[Result]) -> None:
        self._call = call
        self._ending = Ending(call)
        self._batches = batches
        self._window = window
        self._changed = asyncio.Event()
        self._writing = asyncio.Lock()
        self._exhausted = False

    async def answers(self, timeout: float | None) -> AsyncGenerator[Answer[Result], None]:
        """Give the answers as they come.

        Raises:
            DeadlineExceeded: no answer came for `timeout` seconds while one was owed.
            SemserveError: the stream as a whole failed.
        """
        feeding = asyncio.create_task(self._feed())
        sending = asyncio.create_task(self._send_again())
        try:
            while (message := await self._next_message(timeout)) is not grpc.aio.EOF:
                answer = self._window.settle(message, time.monotonic())
                self._changed.set()
                if answer is not None:
                    yield answer
            if not self._complete:
                raise early_error(self._window)
            await feeding  # raises what the caller's batches raised
        finally:
            self._call.cancel()
            feeding.cancel()
            sending.cancel()
            await asyncio.gather(feeding, sending, return_exceptions=True)

    @property
    def _complete(self) -> bool:
        """Whether all has been asked, and all that was asked answered."""
        return self._exhausted and self._window.empty

    async def _feed(self) -> None:
        """Send what the caller gives, as long as there is room."""
        source = aiter(_each(self._batches.source))
        try:
            while await self._has_room():
                part = self._batches.part(await anext(source))
                await self._write(self._window.admit(part))
        except StopAsyncIteration:
            pass
        finally:
            self._exhausted = True
            self._changed.set()

    async def _has_room(self) -> bool:
        while self._window.full:
            await self._change(None)
        return True

    async def _send_again(self) -> None:
        """Send again what is due, and end the requests once every one is answered."""
        while not self._complete:
            now = time.monotonic()
            if again := self._window.again(now):
                await self._write(again)
            else:
                due = self._window.due
                await self._change(None if due is None else due - now)
        await self._call.done_writing()

    async def _write(self, message: Message) -> None:
        # A call that has ended takes no more, and why it ended is what reading it tells.
        with suppress(grpc.RpcError, asyncio.InvalidStateError):
            async with self._writing:
                await self._call.write(message)

    async def _change(self, seconds: float | None) -> None:
        """Wait until an answer came or the source ended, or for so many seconds."""
        self._changed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    async def _next_message(self, timeout: float | None) -> Any:
        """Wait for what comes next; EOF is the end of the stream."""
        # A task, because to cancel a read of grpc.aio is to cancel its whole call.
        reading = asyncio.ensure_future(self._call.read())
        try:
            while True:
                asked = self._window.admitted
                done, _ = await asyncio.wait({reading}, timeout=timeout)
                if done:
                    return await reading
                if self._window.owes(asked):
                    raise late_error(timeout)
        except grpc.aio.AioRpcError as failed:
            end = await self._ending.wait(failed)
            if end.code() is grpc.StatusCode.OK:
                return grpc.aio.EOF
            raise from_call(end) from failed
        finally:
            reading.cancel()


async def _each(source: Iterable[Any] | AsyncIterable[Any]) -> AsyncGenerator[Any, None]:
    """Go through an iterable of either kind."""
    if isinstance(source, AsyncIterable):
        async for item in source:
            yield item
    else:
        for item in source:
            yield item
