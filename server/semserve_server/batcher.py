"""Admits whole requests, forms batches and answers them.

Lanes are threads. A free lane takes the next batch from the queue by itself, so that what arrived
while the last batch ran is the next batch, and no timer is needed. Answers return to the event loop
with one call a batch. The waiting and the threads are here; the policy is in `batch_queue`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

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

    def run(self, encodings: Sequence[Encoding]) -> Rows:
        """Return one row an encoding. Called from several threads at once."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows of one request, and what they cost."""

    rows: Rows
    """Float32 [encodings, outputs], in the order of the encodings."""
    padded_tokens: int
    """Tokens computed for this request, its share of the padding included."""
    queue_seconds: float
    """From admission until its last encoding was taken."""
    compute_seconds: float
    """The longest run that it took part in."""


class Batcher:
    """A queue and the lanes that empty it, for one session."""

    def __init__(
        self,
        session: Runner,
        queue: BatchQueue,
        admission: Admission,
        *,
        name: str,
        on_failure: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._queue = queue
        self._admission = admission
        self._clock = clock
        self._on_failure = on_failure
        self._changed = threading.Condition()
        self._closed = False
        self._pending: set[_Request] = set()
        self._running_tokens = 0
        self._loop = asyncio.get_running_loop()
        self._idle = asyncio.Event()
        self._idle.set()
        self._lanes = [
            threading.Thread(target=self._lane, name=f"{name}-lane-{number}", daemon=True)
            for number in range(admission.lanes)
        ]
        for lane in self._lanes:
            lane.start()

    def __repr__(self) -> str:
        return f"<Batcher {len(self._lanes)} lanes, {len(self._pending)} requests, {self._queue!r}>"

    async def submit(self, encodings: Sequence[Encoding], *, deadline: float) -> Answer:
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
        request = _Request(len(encodings), deadline, now, self._loop.create_future())
        entries = [
            Entry(encoding, len(encoding), request, index)
            for index, encoding in enumerate(encodings)
        ]
        demand = Demand(len(entries), sum(entry.length for entry in entries))
        with self._changed:
            if self._closed:
                raise Draining("the server is stopping")
            waiting = Demand(len(self._queue), self._queue.tokens)
            self._admission.check(demand, waiting, self._running_tokens, deadline - now)
            self._queue.put(entries)
            self._changed.notify(min(len(entries), len(self._lanes)))
        self._pending.add(request)
        self._idle.clear()
        try:
            return await request.answer
        finally:
            request.gone = True
            self._pending.discard(request)
            if not self._pending:
                self._idle.set()

    async def drained(self) -> None:
        """Wait until every admitted request is answered."""
        await self._idle.wait()

    def close(self) -> None:
        """Refuse new requests, and end the lanes when the queue is empty."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _lane(self) -> None:
        """Take and run batches until closed."""
        try:
            while (taken := self._take()) is not None:
                finished = self._run(taken)
                self._loop.call_soon_threadsafe(self._answer, taken, finished)
        except Exception:
            log.exception("a lane died. This is a bug.")
            self._loop.call_soon_threadsafe(self._collapse)

    def _collapse(self) -> None:
        """On the event loop, after a lane died: nobody waits for what will never come."""
        self.close()
        for request in self._pending:
            request.fail(InferenceFailed())
        self._on_failure()

    def _take(self) -> Taken | None:
        """Wait for entries and take a batch; None when closed and empty."""
        with self._changed:
            while not self._queue:
                if self._closed:
                    return None
                self._changed.wait()
            taken = self._queue.take(self._clock())
            self._running_tokens += _padded(taken)
            return taken

    def _run(self, taken: Taken) -> _Finished:
        started = self._clock()
        if not taken.batch:
            return _Finished(None, None, started, 0.0)
        try:
            rows = self._session.run([entry.encoding for entry in taken.batch])
        except Exception as error:  # noqa: BLE001  (whatever a run raises is its entries' answer)
            return _Finished(None, error, started, self._clock() - started)
        return _Finished(rows, None, started, self._clock() - started)

    def _answer(self, taken: Taken, finished: _Finished) -> None:
        """On the event loop: hand each entry of a batch its row."""
        with self._changed:
            self._running_tokens -= _padded(taken)
        for entry in taken.expired:
            _owner(entry).fail(DeadlineExceeded("the deadline passed in the queue"))
        if finished.error is not None:
            log.error("a run of %d entries failed", len(taken.batch), exc_info=finished.error)
            for entry in taken.batch:
                _owner(entry).fail(InferenceFailed())
        if finished.rows is not None:
            self._admission.cost.observe(_padded(taken), finished.seconds)
            longest = max(entry.length for entry in taken.batch)
            for row, entry in zip(finished.rows, taken.batch, strict=True):
                _owner(entry).receive(entry.index, row, longest, finished)


@dataclass(frozen=True, slots=True)
class _Finished:
    """The outcome of one run."""

    rows: Rows | None
    error: Exception | None
    started: float
    seconds: float


class _Request:
    """A request that waits for its rows. Only the event loop changes it."""

    __slots__ = (
        "_admitted", "_compute", "_missing", "_padded", "_queued", "_rows", "answer", "deadline",
        "gone",
    )  # fmt: skip

    def __init__(
        self, size: int, deadline: float, admitted: float, answer: asyncio.Future[Answer]
    ) -> None:
        self.deadline = deadline
        self.gone = False
        self.answer = answer
        self._admitted = admitted
        self._missing = size
        self._rows: Rows | None = None
        self._padded = 0
        self._queued = 0.0
        self._compute = 0.0

    def receive(self, index: int, row: Rows, padded: int, finished: _Finished) -> None:
        """Take one row; the last one completes the answer."""
        if self._rows is None:
            # A request of one text, the common case, keeps the row's memory as it is.
            self._rows = (
                row[None] if self._missing == 1 else np.empty((self._missing, row.size), np.float32)
            )
        if len(self._rows) > 1:
            self._rows[index] = row
        self._missing -= 1
        self._padded += padded
        self._queued = max(self._queued, finished.started - self._admitted)
        self._compute = max(self._compute, finished.seconds)
        if not self._missing and not self.answer.done():
            self.answer.set_result(Answer(self._rows, self._padded, self._queued, self._compute))

    def fail(self, error: Exception) -> None:
        """Fail the whole request; what of it still waits is dropped when it is met."""
        self.gone = True
        if not self.answer.done():
            self.answer.set_exception(error)


def _padded(taken: Taken) -> int:
    """Count the tokens of a batch as it runs: entries times the longest."""
    return len(taken.batch) * max((entry.length for entry in taken.batch), default=0)


def _owner(entry: Entry) -> _Request:
    """The queue sees owners; here they are requests."""
    if not isinstance(entry.owner, _Request):
        raise TypeError("the batcher queues only requests of its own. This is a bug.")
    return entry.owner
