"""The context of the request that is being processed: `current()` returns it everywhere."""

from __future__ import annotations

import contextlib
import logging
import random
import re
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from time import perf_counter
from types import TracebackType
from typing import Self

from semserve_server.errors import Overloaded
from semserve_server.instrumentation.counters import (
    MethodCounters,
    ModelCounters,
    cancelled_at_deadline,
)

log = logging.getLogger(__name__)

OK = "OK"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:@=+-]{1,128}")
_current: ContextVar[RequestContext] = ContextVar("request_context")


def current() -> RequestContext:
    """Return the context of the request that is being processed, from the context of its task.

    Raises:
        LookupError: no request is being processed. `rpc/instrumented_handlers.py` sets the context
            for every RPC.
    """
    return _current.get()


def current_name() -> str:
    """Return the name of the present request, for logs; empty outside of a request."""
    request = _current.get(None)
    return request.name if request else ""


def _unknown() -> bool:
    """Return False: nobody counts the calls, or another one was there first."""
    return False


class CallMetadata:
    """The metadata of a call that the server reads. The values are untrusted."""

    __slots__ = ("request_id", "traceparent")

    def __init__(self, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        self.request_id = ""
        """The caller's `x-request-id` if it is short and plain, else an id that the server makes.

        It appears in logs, traces and trailers, so it may contain only characters of an id.
        """
        self.traceparent = ""
        """The W3C header as received. `tracestate` is not read: only services that call others
        need it."""
        for key, value in metadata:
            if key == "x-request-id" and isinstance(value, str) and _REQUEST_ID.fullmatch(value):
                self.request_id = value
            elif key == "traceparent" and isinstance(value, str):
                self.traceparent = value
        self.request_id = self.request_id or f"{random.getrandbits(64):016x}"

    @property
    def trailer(self) -> tuple[str, str]:
        """The trailing metadata entry that tells the caller the id of its request."""
        return "x-request-id", self.request_id


class RequestContext:
    """A unary call, a stream, or one message of a stream.

    A context manager around its processing.
    """

    __slots__ = (
        "_end",
        "_messages",
        "_time_remaining",
        "code",
        "id",
        "inference",
        "is_alone",
        "is_stream",
        "metadata",
        "method",
        "model",
        "name",
        "rejected",
        "seconds",
        "started",
        "tokenized",
    )  # fmt: skip

    def __init__(
        self,
        method: MethodCounters,
        metadata: CallMetadata,
        time_remaining: Callable[[], float | None],
        end: Callable[[RequestContext], None],
        *,
        is_stream: bool = False,
    ) -> None:
        """Create the context of a request.

        Args:
            method: counters of the RPC.
            metadata: metadata of the call.
            time_remaining: returns the seconds until the deadline, or None without a deadline.
            end: called when the request has ended.
            is_stream: whether this is a stream; its messages are requests too.
        """
        self.method = method
        self.metadata = metadata
        self.name = metadata.request_id
        """Name in logs: the request id, and for a message of a stream also its number."""
        self.is_stream = is_stream
        self.code = OK
        """Name of the status code of the request."""
        self.rejected = ""
        """The exceeded limit, an `Overloaded.cause`; empty if the request was not rejected for
        overload."""
        self.model: ModelCounters | None = None
        """Counters of the model that processes the request, once the model is known."""
        self.tokenized: tuple[float, float] | None = None
        """Start and end of the tokenisation, in seconds of `time.perf_counter`."""
        self.inference: InferenceCost | None = None
        self.is_alone: Callable[[], bool] = _unknown
        """Returns whether this is the only call in progress, and was when it began."""
        self._messages = 0
        self._time_remaining = time_remaining
        self._end = end

    def message(self) -> RequestContext:
        """Create the context of the next message of this stream."""
        self._messages += 1
        one = RequestContext(self.method, self.metadata, self._time_remaining, self._end)
        one.name = f"{self.name}/{self._messages}"
        return one

    def set_error(self, code: str, error: Exception) -> None:
        """Store the name of the status code of an error, and its cause if it is an overload."""
        self.code = code
        if isinstance(error, Overloaded):
            self.rejected = error.cause

    def __enter__(self) -> Self:
        _current.set(self)
        (self.method.streams if self.is_stream else self.method.requests).begun += 1
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
            # gRPC cancels the handler when the caller cancels or its deadline passes.
            remaining = self._time_remaining()
            at_deadline = remaining is not None and cancelled_at_deadline(
                elapsed=self.seconds, remaining=remaining
            )
            self.code = "DEADLINE_EXCEEDED" if at_deadline else "CANCELLED"
        try:
            self._end(self)
        except Exception:
            # A failing tracer or log handler must not fail the request. The log itself may be what
            # fails.
            with contextlib.suppress(Exception):
                log.exception("counting, tracing or logging a request failed")


@dataclass(slots=True)
class InferenceCost:
    """The cost of a request's inference.

    It does not contain the rows: the context lives until the caller has read the reply.
    """

    texts: int
    """Number of texts or pairs that ran."""
    tokens: int
    """Tokens of the request."""
    queue_seconds: float
    """Time from admission until the last encoding left the queue."""
    compute_seconds: float
    """Time of the longest run with an encoding of this request."""
