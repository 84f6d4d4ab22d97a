"""A stream of the blocking client: three threads beside the caller's."""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from typing import Any, Generic, TypeVar, cast

import grpc
from google.protobuf.message import Message

from semserve.errors import SemserveError
from semserve.requests.work import Answer, Batches, Part
from semserve.transport.window import Window, early_error, late_error

Result = TypeVar("Result")


class Stream(Generic[Result]):
    """The requests of one stream, and the answers as they arrive.

    Three threads work for it beside the caller's: one iterates over the caller's batches, gRPC's
    own thread sends, and one receives. None of them holds the lock while it waits for something
    else. If the server goes away, another call continues and sends the unanswered requests again.
    """

    def __init__(
        self,
        batches: Batches[Result],
        window: Window[Result],
        alone: Callable[[int, Part], Answer[Result]],
    ) -> None:
        self._batches = batches
        self._window = window
        self._alone = alone
        self._changed = threading.Condition()
        self._outbox: deque[Message] = deque()
        self._received: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._exhausted = False
        self._closed = False
        self._failure: BaseException | None = None
        self._sending: _Sending = _Sending(self._next_request)
        self._breaks = 0

    def answers(
        self,
        open_call: Callable[[Iterator[Message]], Any],
        timeout: float | None,
        explain: Callable[[grpc.RpcError], SemserveError],
    ) -> Generator[Answer[Result], None, None]:
        """Yield the answers as they arrive.

        Args:
            open_call: starts a gRPC call with these requests.
            timeout: seconds.
            explain: creates the error of a stream that failed.

        Raises:
            DeadlineExceeded: no answer arrived for `timeout` seconds while one was outstanding.
            SemserveError: the stream as a whole failed.
        """
        call = open_call(self._sending)
        for work in (self._feed, partial(self._receive, call)):
            threading.Thread(target=work, daemon=True).start()
        since = time.monotonic()
        try:
            while (message := self._next_message(timeout, since)) is not None:
                if isinstance(message, grpc.RpcError):
                    if self._complete:
                        break
                    self._fail(explain(message), timeout, since)
                    call = open_call(self._sending)
                    threading.Thread(target=self._receive, args=(call,), daemon=True).start()
                    continue
                if isinstance(message, Answer):
                    answer: Answer[Result] | None = message
                else:
                    self._breaks = 0
                    with self._changed:
                        answer = self._window.settle(message, time.monotonic())
                        self._changed.notify_all()
                if answer is not None:
                    yield answer
                since = time.monotonic()
            if not self._complete:
                raise early_error(self._window)
        finally:
            with self._changed:
                self._closed = True
                self._changed.notify_all()
            call.cancel()
        if self._failure is not None:
            raise self._failure

    def _fail(self, error: SemserveError, timeout: float | None, since: float) -> None:
        """Start another call that sends the unanswered requests of a broken one.

        Raises:
            SemserveError: it broke too often or permanently, or there is no time left.
        """
        self._breaks += 1
        pause, now = self._window.pause(error, self._breaks), time.monotonic()
        if pause is None or (timeout is not None and now + pause >= since + timeout):
            raise error
        with self._changed:
            self._sending.over = True
            self._sending = _Sending(self._next_request)
            self._outbox.clear()
            self._window.requeue(now + pause)
            self._changed.notify_all()

    def _next_request(self, sending: "_Sending") -> Message:
        """Return the next request for gRPC, new or again. Ends when every request is answered."""
        with self._changed:
            while not (self._closed or sending.over):
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
        """Whether all requests were sent and answered."""
        return self._exhausted and self._window.empty

    def _feed(self) -> None:
        """Read the caller's batches while there is room."""
        try:
            source = iter(cast("Iterable[Any]", self._batches.source))
            while self._has_room():
                part = self._batches.part(next(source))
                if part.oversize:
                    self._received.put(self._alone(self._window.skip(), part))
                    continue
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
        """Wait for room in the window. False if the stream was closed meanwhile."""
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

    def _next_message(self, timeout: float | None, since: float) -> Any:
        """Wait for what comes next: a message, an answer, an error, or `None` at the end.

        The time counts from `since`, and from now on once all that was owed has been answered.
        """
        while True:
            admitted = self._window.admitted
            left = None if timeout is None else max(0.0, since + timeout - time.monotonic())
            try:
                message = self._received.get(timeout=left)
            except queue.Empty:
                with self._changed:
                    late = self._window.is_unanswered(admitted)
                if late:
                    raise late_error(timeout) from None
                since = time.monotonic()
                continue  # all that was asked before this wait has been answered
            return message


class _Sending:
    """The requests of one call, as gRPC iterates over them on a thread of its own.

    Attributes:
        over: whether the call is broken, so that another one sends.
    """

    def __init__(self, next_request: Callable[["_Sending"], Message]) -> None:
        self._next_request = next_request
        self.over = False

    def __iter__(self) -> Iterator[Message]:
        return self

    def __next__(self) -> Message:
        return self._next_request(self)
