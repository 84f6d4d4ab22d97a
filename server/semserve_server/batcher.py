"""Admits whole requests, forms batches and answers them.

Lanes are threads. A free lane takes the next batch from the queue by itself, so that what arrived
while the last batch ran is the next batch, and no timer is needed. Answers return to the event loop
with one call a batch. The waiting and the threads are here; the policy is in `batch_queue` and
`admission`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from semserve_server.admission import Admission, Demand
from semserve_server.batch_queue import BatchQueue, Entry, Taken
from semserve_server.encoding import Encoding
from semserve_server.errors import DeadlineExceeded, Draining, InferenceFailed

log = logging.getLogger(__name__)

Rows = NDArray[np.float32]


class Runner(Protocol):
    """What runs a batch: a session, or in tests something that can be held."""

    def run(self, encodings: Sequence[Encoding], *, wide: bool = False) -> Rows:
        """Return one row an encoding. Called from several threads at once.

        Args:
            encodings: at least one.
            wide: whether nothing else runs or waits, so that this run may have all threads.
        """


@dataclass(frozen=True, slots=True)
class Inference:
    """The rows of one request, and what they cost."""

    rows: Rows
    """Float32 [encodings, outputs], in the order of the encodings."""
    tokens: int
    """Tokens of the request's encodings."""
    padded_tokens: int
    """Tokens computed for this request, its share of the padding included."""
    queue_seconds: float
    """From admission until its last encoding was taken."""
    compute_seconds: float
    """The longest run that it took part in."""


class Batcher:
    """A queue and the lanes that empty it, for one session. Made and used on one event loop."""

    def __init__(
        self,
        session: Runner,
        queue: BatchQueue[_Request],
        admission: Admission,
        *,
        name: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._queue = queue
        self._admission = admission
        self._clock = clock
        self._changed = threading.Condition()
        self._closed = False
        self.failed = False
        """Whether a lane has died."""
        self._pending: set[_Request] = set()
        self._running_tokens = 0
        self._loop = asyncio.get_running_loop()
        self._lanes = [_Lane(f"{name}-lane-{n}", self._serve) for n in range(admission.lanes)]
        for lane in self._lanes:
            lane.thread.start()

    def __repr__(self) -> str:
        return f"<Batcher {len(self._lanes)} lanes, {len(self._pending)} requests, {self._queue!r}>"

    async def submit(self, encodings: Sequence[Encoding], *, deadline: float) -> Inference:
        """Answer a request; it is admitted whole or not at all.

        Cancelling the caller abandons the request: what of it still waits never runs, and the
        batches that its entries have joined are not harmed.

        Args:
            encodings: at least one.
            deadline: instant on the clock, in seconds.

        Raises:
            Overloaded: the queue cannot hold it, or it would come too late.
            Draining: the batcher has been closed.
            DeadlineExceeded: the deadline passed before all of it was taken.
            InferenceFailed: a run failed.
        """
        now = self._clock()
        request = _Request(len(encodings), now, self._loop.create_future())
        entries = [
            Entry(encoding, len(encoding), deadline, request, index)
            for index, encoding in enumerate(encodings)
        ]
        demand = Demand(len(entries), sum(entry.length for entry in entries))
        with self._changed:
            if self.failed:
                raise InferenceFailed
            if self._closed:
                raise Draining("the server is stopping")
            waiting = Demand(len(self._queue), self._queue.tokens)
            self._admission.check(demand, waiting, self._running_tokens, deadline - now)
            self._queue.put(entries)
            self._changed.notify(min(len(entries), len(self._lanes)))
        self._pending.add(request)
        try:
            return await request.answer
        except BaseException:
            with self._changed:
                self._queue.drop(entries)
            raise
        finally:
            self._pending.discard(request)

    def longest_run(self) -> float:
        """Tell for how many seconds the oldest of the present runs has been going."""
        now = self._clock()
        return max(0.0, *(now - lane.busy_since for lane in self._lanes))

    def close(self) -> None:
        """Refuse new requests, and end the lanes when the queue is empty."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _serve(self, lane: _Lane) -> None:
        """Take and run batches until closed; runs on the lane's thread."""
        try:
            while (work := self._take()) is not None:
                taken, wide = work
                started = self._clock()
                lane.busy_since = started
                outcome = self._run(taken, wide=wide)
                lane.busy_since = float("inf")
                finished = _Finished(outcome, wide, started, self._clock() - started)
                self._call(self._answer, taken, finished)
        except Exception:
            log.exception("a lane died. This is a bug.")
            self._call(self._collapse)

    def _take(self) -> tuple[_Taken, bool] | None:
        """Wait for entries and take a batch; None when closed and empty.

        Returns:
            The batch, and whether nothing else runs or waits.
        """
        with self._changed:
            while not self._queue:
                if self._closed:
                    return None
                self._changed.wait()
            taken = self._queue.take(self._clock())
            wide = not self._running_tokens and not self._queue
            self._running_tokens += taken.padded_tokens
            return taken, wide

    def _run(self, taken: _Taken, *, wide: bool) -> Rows | Exception | None:
        if not taken.batch:
            return None
        try:
            return self._session.run([entry.encoding for entry in taken.batch], wide=wide)
        except Exception as error:  # noqa: BLE001  (whatever a run raises is its entries' answer)
            return error

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        """Call on the event loop; once that has ended nobody waits for an answer."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)

    def _answer(self, taken: _Taken, finished: _Finished) -> None:
        """On the event loop: hand each entry of a batch its row."""
        padded_tokens, longest = taken.padded_tokens, taken.longest
        with self._changed:
            self._running_tokens -= padded_tokens
        for entry in taken.expired:
            entry.owner.fail(DeadlineExceeded("the deadline passed in the queue"))
        if isinstance(finished.outcome, Exception):
            log.error("a run of %d entries failed", len(taken.batch), exc_info=finished.outcome)
            for entry in taken.batch:
                entry.owner.fail(InferenceFailed())
        elif finished.outcome is not None:
            if not finished.wide:  # what a run costs beside others is what admission asks
                self._admission.cost.observe(padded_tokens, finished.seconds)
            for row, entry in zip(finished.outcome, taken.batch, strict=True):
                entry.owner.receive(entry, row, longest, finished)

    def _collapse(self) -> None:
        """On the event loop, after a lane died: nobody waits for what will never come."""
        self.failed = True
        self.close()
        for request in self._pending:
            request.fail(InferenceFailed())


class _Lane:
    """A thread that runs batches."""

    def __init__(self, name: str, serve: Callable[[_Lane], None]) -> None:
        self.busy_since = float("inf")
        """When its present run began, on the batcher's clock; infinite between runs."""
        self.thread = threading.Thread(target=serve, args=(self,), name=name, daemon=True)


@dataclass(frozen=True, slots=True)
class _Finished:
    """The outcome of one run."""

    outcome: Rows | Exception | None
    wide: bool
    started: float
    seconds: float


class _Request:
    """A request that waits for its rows. Only the event loop changes it."""

    __slots__ = (
        "_admitted", "_compute", "_missing", "_padded", "_queued", "_rows", "_tokens", "answer",
    )  # fmt: skip

    def __init__(self, size: int, admitted: float, answer: asyncio.Future[Inference]) -> None:
        self.answer = answer
        self._admitted = admitted
        self._missing = size
        self._rows: Rows | None = None
        self._tokens = 0
        self._padded = 0
        self._queued = 0.0
        self._compute = 0.0

    def receive(self, entry: Entry[_Request], row: Rows, padded: int, finished: _Finished) -> None:
        """Take one row; the last one completes the answer."""
        if self._rows is None:
            # A request of one text, the common case, keeps the row's memory as it is.
            shape = self._missing, row.size
            self._rows = row[None] if self._missing == 1 else np.empty(shape, np.float32)
        if len(self._rows) > 1:
            self._rows[entry.index] = row
        self._missing -= 1
        self._tokens += entry.length
        self._padded += padded
        self._queued = max(self._queued, finished.started - self._admitted)
        self._compute = max(self._compute, finished.seconds)
        if not self._missing and not self.answer.done():
            self.answer.set_result(
                Inference(self._rows, self._tokens, self._padded, self._queued, self._compute)
            )

    def fail(self, error: Exception) -> None:
        """Fail the whole request; what of it still waits is dropped by its caller."""
        if not self.answer.done():
            self.answer.set_exception(error)


_Taken: TypeAlias = Taken[_Request]
