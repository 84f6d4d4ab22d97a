"""The requests of one stream: which are in flight, which will be sent again, and when to stop.

This is the whole policy of a stream, without a clock and without a lock; the two clients bring
those. A request passes through three states:

    admitted ──> in flight ──> answered
                   │   ▲
                   ▼   │ when due
                  waiting        the server was overloaded, not ready, or went away

In flight and waiting together never exceed the bound, so a server that sheds load slows its
clients down instead of growing their memory.
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
    """The requests of one stream that have no answer yet.

    Args:
        batches: what the stream carries.
        bound: most requests without an answer, at least 1.
        retry: how often, and after which wait, a request is sent again.

    Attributes:
        admitted: how many requests have been taken in.
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
        """Whether another request has to wait for an answer first."""
        return len(self._in_flight) + len(self._waiting) >= self._bound

    @property
    def empty(self) -> bool:
        """Whether every request has its answer."""
        return not self._in_flight and not self._waiting

    def owes(self, admitted: int) -> bool:
        """Whether one of the first `admitted` requests has no answer yet."""
        entries = (*self._in_flight.values(), *(entry for _, _, entry in self._waiting))
        return any(entry.index < admitted for entry in entries)

    @property
    def due(self) -> float | None:
        """The instant at which a request has to be sent again, or `None`."""
        return self._waiting[0][0] if self._waiting else None

    def admit(self, part: Part) -> Message:
        """Take a new request in, and give the message to send."""
        entry = _Entry(self.admitted, part)
        self.admitted += 1
        return self._send(entry)

    def pause(self, error: SemserveError, breaks: int) -> float | None:
        """Seconds until another stream goes on, after one broke for the first, second, … time.

        `None` where none does.
        """
        return self._retry.wait(error, breaks)

    def lose(self, due: float) -> None:
        """Put off until `due` what the server had when it went away."""
        for entry in self._in_flight.values():
            entry.attempts -= 1
            heapq.heappush(self._waiting, (due, entry.index, entry))
        self._in_flight.clear()

    def skip(self) -> int:
        """Take a request in that is sent by itself, and give its place."""
        self.admitted += 1
        return self.admitted - 1

    def again(self, now: float) -> Message | None:
        """Give a message whose time to be sent again has come, or `None`."""
        if self.due is None or self.due > now:
            return None
        _, _, entry = heapq.heappop(self._waiting)
        entry.attempts += 1
        return self._send(entry)

    def settle(self, message: Any, now: float) -> Answer[Result] | None:
        """Take what the server sent; give the answer, or `None` where there will be another.

        Raises:
            InternalError: the server answered what was not asked.
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
    """Make the error of a stream on which an answer that is owed did not come in time."""
    return DeadlineExceeded(f"no answer on the stream for {timeout:g} s")


def early_error(window: Window[Any]) -> InternalError:
    """Make the error of a stream that the server ended before all was asked and answered."""
    return InternalError(f"the server ended the stream too early: {window}")
