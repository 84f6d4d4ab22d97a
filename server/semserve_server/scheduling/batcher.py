"""Admits whole requests, forms batches and answers them.

Lanes are threads. A free lane takes the next batch from the queue by itself, so that what arrived
while the last batch ran is the next batch, and no timer is needed. Answers return to the event loop
with one call a batch. The waiting and the threads are here; the policy is in `admission`,
`batch_queue` and `runs`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from semserve_server.errors import Draining, InferenceFailed
from semserve_server.instrumentation.counters import ModelCounters, late
from semserve_server.runtime.encoding import Encoding
from semserve_server.runtime.runner import Rows, Runner
from semserve_server.runtime.sparse import SparseRow
from semserve_server.runtime.worker_threads import Worker
from semserve_server.scheduling.admission import Admission, Demand
from semserve_server.scheduling.batch_delay import BatchDelay
from semserve_server.scheduling.batch_queue import BatchQueue, Entry, Taken
from semserve_server.scheduling.batch_results import Finished, hand_out
from semserve_server.scheduling.bisection import run_batch
from semserve_server.scheduling.concurrency_limit import ConcurrencyLimit
from semserve_server.scheduling.dispatch import Dispatch
from semserve_server.scheduling.request import Inference, Pending
from semserve_server.scheduling.worker import BatchWorker

log = logging.getLogger(__name__)

_Taken: TypeAlias = Taken[Pending]
Condense: TypeAlias = Callable[[Rows, Sequence[Encoding]], list[SparseRow]]


class Batcher:
    """A queue and the lanes that empty it, for one session. Made and used on one event loop."""

    def __init__(
        self,
        session: Runner,
        queue: BatchQueue[Pending],
        admission: Admission,
        runs: Dispatch,
        *,
        tally: ModelCounters,
        shares: ConcurrencyLimit | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the lanes.

        Args:
            session: what runs a batch.
            queue: where entries wait.
            admission: who may wait there.
            runs: those that go on; none as yet.
            tally: the model's counts; the lanes' threads have its name.
            shares: the runs that other models want too; none where not given.
            clock: in seconds.
        """
        self._session = session
        self.condense: Condense | None = None
        """Makes sparse rows of the rows of a batch, on the thread of the run; to be set before the
        first request. Where it is None, rows stay as they are."""
        self._queue = queue
        self._admission = admission
        self._runs = runs
        self._tally = tally
        self._clock = clock
        self._changed = threading.Condition()
        self._closed = False
        self._collapsed = False
        self._share = (shares or ConcurrencyLimit(admission.lanes)).share()
        self._pending: set[Pending] = set()
        self._running_tokens = 0
        self._loop = asyncio.get_running_loop()
        self._gathering = BatchDelay(self._wake, worthwhile=self._gathers)
        self._lanes = [BatchWorker(tally.name, n, self._serve) for n in range(admission.lanes)]
        for lane in self._lanes:
            lane.thread.start()

    def __repr__(self) -> str:
        return f"<Batcher {len(self._lanes)} lanes, {len(self._pending)} requests, {self._queue!r}>"

    async def submit(
        self,
        encodings: Sequence[Encoding],
        *,
        deadline: float,
        partial: bool = False,
        caller: str = "",
    ) -> Inference:
        """Answer a request; it is admitted whole or not at all.

        Cancelling the caller abandons the request: what of it still waits never runs, and the
        batches that its entries have joined are not harmed.

        Args:
            encodings: at least one.
            deadline: instant on the clock, in seconds.
            partial: whether the answer may lack the rows of encodings that fail.
            caller: who asks; the runs are shared fairly among callers.

        Raises:
            Overloaded: the queue cannot hold it, or it would come too late.
            Draining: the batcher has been closed.
            DeadlineExceeded: the deadline passed before all of it was taken.
            InferenceFailed: an encoding failed, or with `partial` all of them.
        """
        now = self._clock()
        request = Pending(len(encodings), now, self._loop.create_future(), partial=partial)
        entries = [
            Entry(encoding, len(encoding), deadline, request, index, caller)
            for index, encoding in enumerate(encodings)
        ]
        demand = Demand(len(entries), sum(entry.length for entry in entries))
        with self._changed:
            if self._collapsed:
                raise InferenceFailed
            if self._closed:
                raise Draining("the server is stopping")
            backlog = self._queue.backlog(caller)
            self._admission.check(demand, backlog, self._running_tokens, deadline - now)
            self._queue.put(entries)
        self._pending.add(request)
        try:
            self._gathering.add()
            return await request.answer
        except BaseException as error:
            with self._changed:
                unwanted = sum(entry.waiting for entry in entries)
                self._queue.drop(entries)
            left = self._clock()
            expired = late(elapsed=left - now, remaining=deadline - left)
            cancelled = isinstance(error, asyncio.CancelledError)
            cause = "expired" if expired else "cancelled" if cancelled else "failed"
            self._tally.dropped[cause] += unwanted
            raise
        finally:
            self._pending.discard(request)

    def expect(self, demand: Demand, *, seconds: float, caller: str = "") -> None:
        """Refuse entries that could not be admitted, before they are there.

        Raises:
            Overloaded: as `submit`.
        """
        # Without the lock, which a lane may hold: it is asked again, exactly, when they are there.
        backlog = self._queue.backlog(caller)
        self._admission.check(demand, backlog, self._running_tokens, seconds)

    @property
    def waiting(self) -> Demand:
        """What is queued."""
        return Demand(len(self._queue), self._queue.tokens)

    @property
    def failed(self) -> bool:
        """Whether a lane has died."""
        dead = not self._closed and not all(lane.thread.is_alive() for lane in self._lanes)
        return self._collapsed or dead

    @property
    def workers(self) -> Sequence[Worker]:
        """What runs batches."""
        return self._lanes

    def runs(self) -> dict[str, float]:
        """Tell when each of the present runs began, on the clock, by the name of its lane."""
        return {
            lane.thread.name: since
            for lane in self._lanes
            if (since := lane.busy_since) is not None
        }

    def close(self) -> None:
        """Refuse new requests, and end the lanes when the queue is empty."""
        with self._changed:
            self._closed = True
            # A cycle would keep the session until Python looks for cycles, which is hardly ever.
            self._gathering.close()
            self._changed.notify_all()

    def _gathers(self) -> bool:
        """Tell whether what waits is too little to run while the loop may bring more."""
        if self._closed:
            return False
        return self._runs.gathers(len(self._pending), self._queue.tokens)

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify(min(len(self._queue), len(self._lanes)))

    def _serve(self, lane: BatchWorker) -> None:
        """Take and run batches until closed; runs on the lane's thread."""
        try:
            while self._wait(lane):
                alone = self._share.begin()
                try:
                    taken, finished = self._run(lane, alone=alone)
                finally:
                    lane.busy_since = None
                    self._share.end()
                    self._end(lane)
                # Only now: who asks again at once shall find that nobody else runs.
                self._call(self._answer, taken, finished)
                # While the lane waits it keeps no requests, nor errors that refer to its frames.
                del taken, finished
        except BaseException:
            # First the callers: a log handler may raise.
            self._call(self._collapse)
            log.exception("a lane died. This is a bug.")

    def _wait(self, lane: BatchWorker) -> bool:
        """Wait until a run should begin, and note it; False when closed and empty."""
        with self._changed:
            while True:
                now = self._clock()
                if not self._queue:
                    if self._closed:
                        return False
                    self._changed.wait()
                elif self._gathering.is_open:
                    self._changed.wait()
                elif patience := self._runs.patience(self._queue.tokens, now):
                    self._changed.wait(patience)
                else:
                    self._runs.begin(lane, self._queue.tokens, now)
                    return True

    def _end(self, lane: BatchWorker) -> None:
        """Note the end of a run, for which another lane may have waited."""
        with self._changed:
            self._runs.end(lane)
            if self._queue:
                self._changed.notify()

    def _run(self, lane: BatchWorker, *, alone: bool) -> tuple[_Taken, Finished]:
        """Take a batch and run it.

        Args:
            lane: whose thread this is.
            alone: whether nothing else runs, of this model or of others.
        """
        with self._changed:
            taken = self._queue.take(self._clock())
            wide = alone and not self._queue
            self._running_tokens += taken.computed_tokens
        started = self._clock()

        def run(encodings: Sequence[Encoding]) -> Rows:
            lane.busy_since = self._clock()
            return self._session.run(encodings, wide=wide)

        encodings = [entry.encoding for entry in taken.batch]
        outcome = run_batch(run, encodings) if encodings else None
        if outcome is not None and outcome.rows is not None and self.condense is not None:
            outcome.sparse = self.condense(outcome.rows, encodings)
            outcome.rows = np.zeros((len(encodings), 0), np.float32)  # the others are large
        return taken, Finished(outcome, wide, started, self._clock() - started)

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        """Call on the event loop; once that has ended nobody waits for an answer."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)

    def _answer(self, taken: _Taken, finished: Finished) -> None:
        """Answer the callers of a batch, on the event loop; whatever raises here, each is answered.

        A request that has its answer already keeps it.
        """
        with self._changed:
            self._running_tokens -= taken.computed_tokens
        try:
            hand_out(taken, finished, self._tally, self._admission.cost)
        except Exception:
            for entry in (*taken.expired, *taken.batch):
                entry.owner.fail(InferenceFailed())
            log.exception("answering a batch failed. This is a bug.")

    def _collapse(self) -> None:
        """Fail every request, on the event loop, after a lane died."""
        self._collapsed = True
        for request in self._pending:
            request.fail(InferenceFailed())
        self.close()
