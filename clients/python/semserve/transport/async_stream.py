# ruff: noqa: ASYNC109 - a timeout bounds the wait for each answer
"""A stream of the asyncio client: three tasks beside the caller's."""

import asyncio
import contextvars
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any, Generic, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from semserve.errors import SemserveError
from semserve.requests.work import Answer, Batches, Part
from semserve.transport.stream_status import StreamStatus
from semserve.transport.window import Window, early_error, late_error

Result = TypeVar("Result")


class AsyncStream(Generic[Result]):
    """The requests of one stream, and the answers as they arrive.

    Two tasks send and one receives. If the server goes away, another call continues and sends the
    unanswered requests again.

    Args:
        open_call: starts a gRPC call.
        batches: the requests.
        window: the unanswered requests.
        alone: sends a request as a unary call, and returns the answer.
    """

    def __init__(
        self,
        open_call: Callable[[], Any],
        batches: Batches[Result],
        window: Window[Result],
        alone: Callable[[int, Part], Awaitable[Answer[Result]]],
    ) -> None:
        self._open_call = open_call
        self._call = open_call()
        self._breaks = 0
        self._batches = batches
        self._window = window
        self._alone = alone
        self._changed = asyncio.Event()
        self._writing = asyncio.Lock()
        self._received: asyncio.Queue[Any] = asyncio.Queue()
        self._exhausted = False

    async def answers(
        self,
        timeout: float | None,
        explain: Callable[[grpc.RpcError], SemserveError],
    ) -> AsyncGenerator[Answer[Result], None]:
        """Yield the answers as they arrive.

        Args:
            timeout: seconds.
            explain: creates the error of a stream that failed.

        Raises:
            DeadlineExceeded: no answer arrived for `timeout` seconds while one was outstanding.
            SemserveError: the stream as a whole failed.
        """
        feeding = asyncio.create_task(self._feed())
        works = (self._send_again(), self._receive(self._call))
        tasks = [feeding, *map(asyncio.create_task, works)]
        since = time.monotonic()
        try:
            while (message := await self._next_message(timeout, since)) is not grpc.aio.EOF:
                if isinstance(message, grpc.RpcError):
                    if self._complete:
                        break
                    self._reopen(explain(message), message, timeout, since)
                    tasks.append(asyncio.create_task(self._receive(self._call)))
                    continue
                if isinstance(message, BaseException):
                    raise message
                if isinstance(message, Answer):
                    answer: Answer[Result] | None = message
                else:
                    self._breaks = 0
                    answer = self._window.settle(message, time.monotonic())
                    self._changed.set()
                if answer is not None:
                    yield answer
                since = time.monotonic()
            if not self._complete:
                raise early_error(self._window)
            await feeding  # raises what the caller's batches raised
        finally:
            self._call.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _reopen(
        self, error: SemserveError, cause: grpc.RpcError, timeout: float | None, since: float
    ) -> None:
        """Start another call that sends the unanswered requests of a broken one.

        Raises:
            SemserveError: it broke too often or permanently, or there is no time left.
        """
        self._breaks += 1
        pause, now = self._window.pause(error, self._breaks), time.monotonic()
        if pause is None or (timeout is not None and now + pause >= since + timeout):
            raise error from cause
        self._window.requeue(now + pause)
        self._call = self._open_call()
        self._changed.set()

    @property
    def _complete(self) -> bool:
        """Whether all requests were sent and answered."""
        return self._exhausted and self._window.empty

    async def _feed(self) -> None:
        """Send the caller's batches while there is room."""
        source = aiter(_each(self._batches.source))
        try:
            while await self._has_room():
                part = self._batches.part(await anext(source))
                if part.oversize:
                    answer = await self._alone(self._window.skip(), part)
                    self._received.put_nowait(answer)
                else:
                    await self._write(self._call, self._window.admit(part))
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
        """Send due requests again, and half-close the call when every request is answered."""
        while not self._complete:
            now = time.monotonic()
            if again := self._window.again(now):
                await self._write(self._call, again)
            else:
                due = self._window.due
                await self._change(None if due is None else due - now)
        await self._call.done_writing()

    async def _write(self, call: Any, message: Message) -> None:
        # Writing to a call that has ended fails, and reading the call reports the reason. The next
        # call sends the request again.
        with suppress(grpc.RpcError, asyncio.InvalidStateError):
            async with self._writing:
                if call is self._call:
                    await call.write(message)

    async def _change(self, seconds: float | None) -> None:
        """Wait until an answer arrives or the batches end, at most `seconds`."""
        self._changed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    async def _receive(self, call: Any) -> None:
        """Queue what arrives: messages, then EOF at the end, or the error."""
        ending = StreamStatus(call)
        message: Any = None
        while message is not grpc.aio.EOF and not isinstance(message, BaseException):
            try:
                message = await call.read()
            except grpc.aio.AioRpcError as failed:
                end = await ending.wait(failed)
                message = grpc.aio.EOF if end.code() is grpc.StatusCode.OK else end
            except asyncio.CancelledError as cancelled:
                message = cancelled  # by the end of the stream, or of the channel
            self._received.put_nowait(message)

    async def _next_message(self, timeout: float | None, since: float) -> Any:
        """Wait for the next message, answer or error; EOF at the end.

        The timeout counts from `since`, and restarts when no answer is outstanding.
        """
        while True:
            admitted = self._window.admitted
            left = None if timeout is None else max(0.0, since + timeout - time.monotonic())
            try:
                async with asyncio.timeout(left):
                    return await self._received.get()
            except TimeoutError:
                if self._window.is_unanswered(admitted):
                    raise late_error(timeout) from None
                since = time.monotonic()


async def _each(source: Iterable[Any] | AsyncIterable[Any]) -> AsyncGenerator[Any, None]:
    """Iterate over an iterable of either kind without blocking the loop.

    A plain iterable may read a file or wait for a queue, so another thread waits for each item.
    """
    if isinstance(source, AsyncIterable):
        async for item in source:
            yield item
        return
    iterator, end = iter(source), object()
    while (item := await _on_a_thread(partial(next, iterator, end))) is not end:
        yield item


async def _on_a_thread(work: Callable[[], Any]) -> Any:
    """Run a function that may block on a daemon thread, which the program does not wait for."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()
    context = contextvars.copy_context()

    def settle(setter: Callable[[Any], None], value: Any) -> None:
        if not done.done():
            setter(value)

    def run() -> None:
        try:
            outcome: tuple[Callable[[Any], None], Any] = done.set_result, context.run(work)
        except BaseException as error:  # noqa: BLE001 - raised again where the caller waits
            outcome = done.set_exception, error
        with suppress(RuntimeError):  # the loop has been closed
            loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=run, daemon=True).start()
    return await done
