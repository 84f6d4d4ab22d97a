"""How the blocking client carries out work: a channel, and three threads for each stream."""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from functools import cached_property, partial
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, cast

import grpc
from google.protobuf.message import Message

from semserve import health
from semserve.errors import from_call
from semserve.health import Health
from semserve.options import Options
from semserve.window import Window, early_error, late_error
from semserve.work import Answer, Batches, Method, Results, Work

Result = TypeVar("Result")


class Wire(Options):
    """A connection to a server, opened by the first call."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; calls in flight fail, and so do later ones."""
        self._channel.close()

    @cached_property
    def _channel(self) -> grpc.Channel:
        arguments = self._channel_arguments()
        if self._credentials is None:
            return grpc.insecure_channel(self.address, arguments)
        return grpc.secure_channel(self.address, self._credentials, arguments)

    def _do(self, work: Work[Result], timeout: float | None) -> Result:
        """Carry out work: one request, one after the other, or over a stream."""
        results = Results(work, self._progress)
        batches = work.batches
        answers = self._stream(batches, timeout) if batches else self._ask(work, timeout)
        # Closed at once where a part fails, so that the server need not go on.
        with closing(answers):
            for answer in answers:
                results.take(answer)
        return results.whole()

    def _ask(
        self, work: Work[Result], timeout: float | None
    ) -> Generator[Answer[Result], None, None]:
        ask = self._rpc(self._channel.unary_unary, work.method)
        for index, part in enumerate(work.parts):
            try:
                response = ask(part.request, **self._how(self._seconds(timeout)))
            except grpc.RpcError as failed:
                yield Answer(index, part.explain(from_call(failed)), None)
            else:
                yield Answer(index, None, work.read(part.request, response))

    def _stream(
        self,
        batches: Batches[Result],
        timeout: float | None,
    ) -> Generator[Answer[Result], None, None]:
        stream = Stream(batches, Window(batches, self._in_flight, self.retry))
        call = self._rpc(self._channel.stream_stream, batches.method)
        yield from stream.answers(call(stream, **self._how(None)), self._seconds(timeout))

    def _watch(self, service: str) -> Iterator[Health]:
        request = health.request(service)
        call = self._rpc(self._channel.unary_stream, health.WATCH)(request, **self._how(None))
        try:
            for response in call:
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


class Stream(Generic[Result]):
    """The requests of one stream as gRPC iterates over them, and the answers as they come.

    Three threads work on it beside the caller's: one runs the caller's iterable, gRPC's own sends,
    and one receives. None of them holds the lock while it waits for something outside.
    """

    def __init__(self, batches: Batches[Result], window: Window[Result]) -> None:
        self._batches = batches
        self._window = window
        self._changed = threading.Condition()
        self._outbox: deque[Message] = deque()
        self._received: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._exhausted = False
        self._closed = False
        self._failure: BaseException | None = None

    def answers(self, call: Any, timeout: float | None) -> Generator[Answer[Result], None, None]:
        """Give the answers of a call that was made with this stream as its requests.

        Raises:
            DeadlineExceeded: no answer came for `timeout` seconds while one was owed.
            SemserveError: the stream as a whole failed.
        """
        for work in (self._feed, partial(self._receive, call)):
            threading.Thread(target=work, daemon=True).start()
        try:
            while (message := self._next_message(timeout)) is not None:
                with self._changed:
                    answer = self._window.settle(message, time.monotonic())
                    self._changed.notify_all()
                if answer is not None:
                    yield answer
            if not self._complete:
                raise early_error(self._window)
        finally:
            with self._changed:
                self._closed = True
                self._changed.notify_all()
            call.cancel()
        if self._failure is not None:
            raise self._failure

    def __iter__(self) -> Iterator[Message]:
        return self

    def __next__(self) -> Message:
        """Give gRPC the next request: new, or again, or none where every one is answered."""
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                if self._outbox:
                    return self._outbox.popleft()
                if again := self._window.again(now):
                    return again
                if self._complete:
                    break
                due = self._window.due
                self._changed.wait(None if due is None else due - now)
        raise StopIteration

    @property
    def _complete(self) -> bool:
        """Whether all has been asked, and all that was asked answered."""
        return self._exhausted and self._window.empty

    def _feed(self) -> None:
        """Take what the caller gives, as long as there is room."""
        try:
            source = iter(cast("Iterable[Any]", self._batches.source))
            while self._has_room():
                part = self._batches.part(next(source))
                with self._changed:
                    self._outbox.append(self._window.admit(part))
                    self._changed.notify_all()
        except StopIteration:
            pass
        except BaseException as failure:  # noqa: BLE001 - raised again where the caller waits
            self._failure = failure
        with self._changed:
            self._exhausted = True
            self._changed.notify_all()

    def _has_room(self) -> bool:
        """Wait for room in the window; false where the stream was closed meanwhile."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._window.full)
            return not self._closed

    def _receive(self, call: Any) -> None:
        """Queue what comes: messages, then `None` at the end or the error."""
        try:
            for message in call:
                self._received.put(message)
        except grpc.RpcError as failed:
            self._received.put(failed)
        else:
            self._received.put(None)

    def _next_message(self, timeout: float | None) -> Any:
        """Wait for what comes next; `None` is the end of the stream."""
        while True:
            asked = self._window.admitted
            try:
                message = self._received.get(timeout=timeout)
            except queue.Empty:
                with self._changed:
                    late = self._window.owes(asked)
                if late:
                    raise late_error(timeout) from None
                continue  # all that was asked before this wait has been answered
            if isinstance(message, grpc.RpcError):
                raise from_call(message)
            return message
