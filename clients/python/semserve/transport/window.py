"""The requests of one stream: which are in flight, which are sent again, and when to stop.

This is the policy of a stream, without clock and lock; the two clients provide those. A request has
three states:

    admitted ──> in flight ──> answered
                   │   ▲
                   ▼   │ when due
                  waiting        the server was overloaded, not ready, or went away

The number of requests in flight and waiting never exceeds the bound. So a server that rejects
requests slows its clients down instead of filling their memory.
"""

import heapq
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from semserve.connection.retry import Retry
from semserve.errors import (
    DeadlineExceeded,
    InternalError,
    SemserveError,
    from_status,
)
from semserve.requests.work import Answer, Batches, Part

Result = TypeVar("Result")


@dataclass(slots=True)
class _Entry:
    index: int
    part: Part
    attempts: int = 1


class Window(Generic[Result]):
    """The unanswered requests of one stream.

    Args:
        batches: the batches of the stream.
        bound: most unanswered requests, at least 1.
        retry: when a request is sent again.

    Attributes:
        admitted: number of requests admitted so far.
    """

    def __init__(self, batches: Batches[Result], bound: int, retry: Retry) -> None:
        self._batches = batches
        self._bound = bound
        self._retry = retry
        self.admitted = 0
        self._in_flight: dict[str, _Entry] = {}
        self._waiting: list[tuple[float, int, _Entry]] = []

    def __repr__(self) -> str:
        in_flight, waiting = len(self._in_flight), len(self._waiting)
        return f"<Window {in_flight} in flight, {waiting} waiting, bound {self._bound}>"

    @property
    def full(self) -> bool:
        """Whether the next request must wait for an answer."""
        return len(self._in_flight) + len(self._waiting) >= self._bound

    @property
    def empty(self) -> bool:
        """Whether every request has its answer."""
        return not self._in_flight and not self._waiting

    def is_unanswered(self, admitted: int) -> bool:
        """Return whether one of the first `admitted` requests has no answer yet."""
        entries = (*self._in_flight.values(), *(entry for _, _, entry in self._waiting))
        return any(entry.index < admitted for entry in entries)

    @property
    def due(self) -> float | None:
        """The instant at which a request must be sent again, or `None`."""
        return self._waiting[0][0] if self._waiting else None

    def admit(self, part: Part) -> Message:
        """Admit a new request, and return the message to send."""
        entry = _Entry(self.admitted, part)
        self.admitted += 1
        return self._send(entry)

    def pause(self, error: SemserveError, breaks: int) -> float | None:
        """Return the seconds until another call continues a stream that broke `breaks` times.

        `None` if none does.
        """
        return self._retry.wait(error, breaks)

    def requeue(self, due: float) -> None:
        """Delay the requests of a server that went away until `due`."""
        for entry in self._in_flight.values():
            entry.attempts -= 1
            heapq.heappush(self._waiting, (due, entry.index, entry))
        self._in_flight.clear()

    def skip(self) -> int:
        """Admit a request that is sent as a unary call, and return its index."""
        self.admitted += 1
        return self.admitted - 1

    def again(self, now: float) -> Message | None:
        """Return a message that is due to be sent again, or `None`."""
        if self.due is None or self.due > now:
            return None
        _, _, entry = heapq.heappop(self._waiting)
        entry.attempts += 1
        return self._send(entry)

    def settle(self, message: Any, now: float) -> Answer[Result] | None:
        """Process a message of the server.

        Return the answer, or `None` if the request is sent again.

        Raises:
            InternalError: the server answered a request that was not sent.
        """
        entry = self._in_flight.pop(message.id, None)
        if entry is None:
            raise InternalError(f"the server answered a request that was not sent: {message.id!r}")
        if message.HasField("response"):
            return self._batches.answered(entry.index, entry.part, message.response)
        error = from_status(message.error)
        wait = self._retry.wait(error, entry.attempts)
        if wait is not None:
            heapq.heappush(self._waiting, (now + wait, entry.index, entry))
            return None
        return entry.part.failed(entry.index, error)

    def _send(self, entry: _Entry) -> Message:
        name = str(entry.index)
        self._in_flight[name] = entry
        return self._batches.method.request(id=name, request=entry.part.request)


def late_error(timeout: float | None) -> DeadlineExceeded:
    """Create the error of a stream with an answer that did not arrive in time."""
    return DeadlineExceeded(f"no answer on the stream for {timeout:g} s")


def early_error(window: Window[Any]) -> InternalError:
    """Create the error of a stream that the server ended before everything was answered."""
    return InternalError(f"the server ended the stream too early: {window}")
