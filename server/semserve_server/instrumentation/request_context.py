"""One request while it is answered, as every part of the server may see it: `current()`."""

from __future__ import annotations

import contextlib
import logging
import random
import re
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from time import perf_counter
from types import TracebackType
from typing import Protocol, Self

from semserve_server.errors import Overloaded
from semserve_server.instrumentation.counters import MethodCounters, ModelCounters, late

log = logging.getLogger(__name__)

OK = "OK"
_PLAIN = re.compile(r"[A-Za-z0-9._:@=+-]{1,128}")
_current: ContextVar[RequestContext] = ContextVar("exchange")


def current() -> RequestContext:
    """Return the request that is being answered, which its task's context carries.

    Raises:
        LookupError: none is. Every RPC of ours is begun by `services/watch.py`.
    """
    return _current.get()


def current_name() -> str:
    """Return the name of the request that is being answered, for logs; empty where none is."""
    exchange = _current.get(None)
    return exchange.name if exchange else ""


class Caller:
    """What a call's metadata tells of where it comes from; hostile input."""

    __slots__ = ("request_id", "traceparent")

    def __init__(self, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        self.request_id = ""
        """The caller's `x-request-id` where it is short and plain, and else one of ours.

        It stands in logs, traces and trailers, so it may not look like anything but an id.
        """
        self.traceparent = ""
        """The W3C header, as it came. `tracestate` is not read: it is for who calls on."""
        for key, value in metadata:
            if key == "x-request-id" and isinstance(value, str) and _PLAIN.fullmatch(value):
                self.request_id = value
            elif key == "traceparent" and isinstance(value, str):
                self.traceparent = value
        self.request_id = self.request_id or f"{random.getrandbits(64):016x}"

    @property
    def trailer(self) -> tuple[str, str]:
        """The trailing metadatum that tells the caller what its request is called here."""
        return "x-request-id", self.request_id


class RequestContext:
    """A unary call, a stream, or one message of a stream; a context manager around its answer."""

    __slots__ = (
        "_end", "_messages", "_time_remaining", "caller", "code", "id", "inference", "method",
        "model", "name", "seconds", "shed", "started", "tokenized", "whole_stream",
    )  # fmt: skip

    def __init__(
        self,
        method: MethodCounters,
        caller: Caller,
        time_remaining: Callable[[], float | None],
        end: Callable[[RequestContext], None],
        *,
        whole_stream: bool = False,
    ) -> None:
        """Make one.

        Args:
            method: the RPC's counts.
            caller: what the caller tells of itself.
            time_remaining: seconds until its deadline, None without one.
            end: called when it has been answered.
            whole_stream: whether it is a stream, whose messages are requests of their own.
        """
        self.method = method
        self.caller = caller
        self.name = caller.request_id
        """What logs call it: its id, and for a message its number on the stream."""
        self.whole_stream = whole_stream
        self.code = OK
        """The name of the status that it ended with."""
        self.shed = ""
        """Why it was refused as too much, if it was: an `Overloaded.cause`."""
        self.model: ModelCounters | None = None
        """Of the model that answers it, once that is known."""
        self.tokenized: tuple[float, float] | None = None
        """When its texts began and ended to be tokenised, by `time.perf_counter`."""
        self.inference: Timed | None = None
        self._messages = 0
        self._time_remaining = time_remaining
        self._end = end

    def message(self) -> RequestContext:
        """Begin to watch a message of this stream."""
        self._messages += 1
        one = RequestContext(self.method, self.caller, self._time_remaining, self._end)
        one.name = f"{self.name}/{self._messages}"
        return one

    def failed(self, code: str, error: Exception) -> None:
        """Note the name of the status that it is told, and of which error."""
        self.code = code
        if isinstance(error, Overloaded):
            self.shed = error.cause

    def __enter__(self) -> Self:
        _current.set(self)
        (self.method.streams if self.whole_stream else self.method.requests).begun += 1
        self.started = perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.seconds = perf_counter() - self.started
        if error is not None and self.code == OK:
            # gRPC cancels what answers a call: its caller left, for its deadline or without one.
            remaining = self._time_remaining()
            at_deadline = remaining is not None and late(elapsed=self.seconds, remaining=remaining)
            self.code = "DEADLINE_EXCEEDED" if at_deadline else "CANCELLED"
        try:
            self._end(self)
        except Exception:
            # A tracer or a log handler that fails must not cost the caller its answer; the log
            # itself may be what fails.
            with contextlib.suppress(Exception):
                log.exception("a request could not be counted, traced or logged")


class Timed(Protocol):
    """What a request's runs took, such as `inference.Cost`.

    Never the rows: a request is watched until its caller has read the answer.
    """

    @property
    def texts(self) -> int:
        """How many texts or pairs ran."""

    @property
    def tokens(self) -> int:
        """Tokens of the request."""

    @property
    def queue_seconds(self) -> float:
        """From admission until its last encoding was taken."""

    @property
    def compute_seconds(self) -> float:
        """The longest run that it took part in."""
