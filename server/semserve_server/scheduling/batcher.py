"""Admits requests, forms batches, runs them and delivers their results.

Workers are threads. A free worker takes the next batch from the queue. Requests that arrive during
a run form the next batch, so no timer is needed. The results of a batch return to the event loop
with one call. The policy is in `admission`, `batch_queue` and `dispatch`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

from semserve_server.errors import Draining, InferenceFailed, Overloaded
from semserve_server.instrumentation.counters import ModelCounters
from semserve_server.runtime.encoding import Encoding
from semserve_server.runtime.runner import Rows, Runner
from semserve_server.runtime.worker_threads import Worker
from semserve_server.scheduling.admission import Admission, Pushback, QueueLoad
from semserve_server.scheduling.batch_delay import BatchDelay
from semserve_server.scheduling.batch_queue import LENGTH, BatchQueue, DequeuedBatch
from semserve_server.scheduling.batch_results import BatchResult, deliver_or_fail
from semserve_server.scheduling.bisection import Condense, run_batch
from semserve_server.scheduling.concurrency_limit import ConcurrencyLimit
from semserve_server.scheduling.dispatch import Dispatch
from semserve_server.scheduling.inline_run import InlineRun
from semserve_server.scheduling.request import Inference, PendingRequest, drop_cause
from semserve_server.scheduling.worker import BatchWorker, active_runs

log = logging.getLogger(__name__)

_Dequeued: TypeAlias = DequeuedBatch[PendingRequest]


class Batcher:
    """The queue of one session and the workers that run its batches. Used on one event loop."""

    def __init__(  # noqa: PLR0913  (the parts of the engine)
        self,
        session: Runner,
        queue: BatchQueue[PendingRequest],
        admission: Admission,
        dispatch: Dispatch,
        *,
        counters: ModelCounters,
        concurrency_limit: ConcurrencyLimit | None = None,
        background: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the workers.

        Args:
            session: runs batches.
            queue: holds entries until they run.
            admission: decides which requests may wait in the queue.
            dispatch: decides when a run starts; knows the active runs.
            counters: the counters of the model. The worker threads are named after the model.
            concurrency_limit: limit of the active runs of all models; without it, only this
                model's.
            background: whether the workers have a low priority, as `BatchWorker`.
            clock: in seconds.
        """
        self._session = session
        self.condense: Condense | None = None
        """Makes sparse rows of a batch's rows, on the thread of the run; None for dense rows."""
        self._queue = queue
        self._admission = admission
        self._dispatch = dispatch
        self._counters = counters
        self._clock = clock
        self._changed = threading.Condition()
        self._closed = self._worker_died = False
        self._share = (concurrency_limit or ConcurrencyLimit(admission.workers)).share()
        self._pending: set[PendingRequest] = set()
        self.refusing = False  # whether the latest request was refused for overload
        self._pushback = Pushback()
        self._running_tokens = 0
        self._waiting_since = 0.0  # when the queue last ceased to be empty, in the clock's seconds
        self._inline = InlineRun(session, dispatch, self._share, clock, enabled=background)
        self._loop = asyncio.get_running_loop()
        self._batch_delay = BatchDelay(self._wake, should_delay=self._should_delay)
        self._workers = [
            BatchWorker(counters.name, n, self._serve, background=background)
            for n in range(admission.workers)
        ]
        for worker in self._workers:
            worker.thread.start()

    def __repr__(self) -> str:
        size = f"{len(self._workers)} workers, {len(self._pending)} requests"
        return f"<Batcher {size}, {self._queue!r}>"

    async def submit(
        self,
        encodings: Sequence[Encoding],
        *,
        deadline: float,
        partial: bool = False,
        caller: str = "",
        alone: bool = False,
    ) -> Inference:
        """Run the encodings of a request. The request is admitted whole or not at all.

        Cancellation drops its queued entries. Batches that already contain its entries continue.

        Args:
            encodings: at least one.
            deadline: instant, in seconds of the clock.
            partial: whether the result may lack the rows of encodings that fail.
            caller: name of the caller; callers share the runs fairly.
            alone: whether the server has no other call; then this may run as `InlineRun`.

        Raises:
            Overloaded: the queue cannot hold the request, or its results would miss the deadline.
            Draining: the batcher is closed.
            DeadlineExceeded: the deadline passed before all entries had run.
            InferenceFailed: an encoding failed, or with `partial` all of them.
        """
        now = self._clock()
        request = PendingRequest(len(encodings), now, self._loop.create_future(), partial=partial)
        entries = request.entries(encodings, deadline=deadline, caller=caller)
        load = QueueLoad(len(entries), sum(map(LENGTH, entries)))
        with self._changed:
            if self._worker_died:
                raise InferenceFailed
            if self._closed:
                raise Draining("the server is stopping")
            self.check_admission(load, seconds=deadline - now, caller=caller)
            empty = not self._queue
            lone = alone and empty and not self.condense and self._inline.begin(entries, now)
            if not lone:
                self._waiting_since = now if empty else self._waiting_since
                self._queue.put(entries)
                self._pushback.admitted(self._admission.seconds(load.tokens))
        if lone:
            self._deliver(*self._inline.run(entries))
            return request.answer.result()
        self._pending.add(request)
        try:
            self._batch_delay.add()
            return await request.answer
        except BaseException as error:
            with self._changed:
                unwanted = sum(entry.waiting for entry in entries)
                self._queue.drop(entries)
            left = self._clock()
            cause = drop_cause(error, elapsed=left - now, remaining=deadline - left)
            self._counters.dropped[cause] += unwanted
            raise
        finally:
            self._pending.discard(request)

    def check_admission(self, load: QueueLoad, *, seconds: float, caller: str = "") -> None:
        """Refuse a request that could not be admitted, such as before its texts are tokenised.

        Only `submit` takes the lock for it, which a worker may hold. Raises `Overloaded`.
        """
        try:
            backlog = self._queue.backlog(caller)
            self._admission.check(load, backlog, self._running_tokens, seconds)
        except Overloaded as error:
            self.refusing = True
            error.retry_after = self._pushback.refused(self._clock(), error.retry_after)
            raise
        self.refusing = False

    @property
    def waiting(self) -> QueueLoad:
        """The size of the queue."""
        return QueueLoad(len(self._queue), self._queue.tokens)

    @property
    def failed(self) -> bool:
        """Whether a worker died."""
        dead = not self._closed and not all(worker.thread.is_alive() for worker in self._workers)
        return self._worker_died or dead

    @property
    def workers(self) -> Sequence[Worker]:
        """The worker threads."""
        return self._workers

    def runs(self) -> dict[str, float]:
        """Return the start of each active run, in seconds of the clock, by its worker's name."""
        return active_runs(self._workers)

    def close(self) -> None:
        """Refuse new requests. The workers end when the queue is empty."""
        with self._changed:
            self._closed = True
            self._batch_delay.close()  # a reference cycle would keep the session in memory
            self._changed.notify_all()

    def _should_delay(self) -> bool:
        """Return whether the queued entries are too few to run while more requests may arrive."""
        waited = self._clock() - self._waiting_since
        return not self._closed and self._dispatch.should_delay(
            len(self._pending), self._queue.tokens, waited
        )

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify(min(len(self._queue), len(self._workers)))

    def _serve(self, worker: BatchWorker) -> None:
        """Take and run batches until the batcher is closed. Runs on the worker's thread."""
        try:
            while self._wait(worker):
                alone = self._share.begin()
                try:
                    taken, result = self._run(worker, alone=alone)
                finally:
                    worker.busy_since = None
                    self._share.end()
                    self._end(worker)
                # Post results after releasing the slot, so that an immediate follow-up request can
                # use all threads.
                self._call(self._answer, taken, result)
                # A waiting worker must not keep references to requests, or to errors that refer to
                # its frames.
                del taken, result
        except BaseException:
            # Fail the requests before logging: a log handler may raise.
            self._call(self._fail_all)
            log.exception("a batch worker died. This is a bug.")

    def _wait(self, worker: BatchWorker) -> bool:
        """Wait until a run should start, and note it. False if the batcher is closed and empty."""
        with self._changed:
            while True:
                now = self._clock()
                if not self._queue:
                    if self._closed:
                        return False
                    self._changed.wait()
                elif self._batch_delay.is_open:
                    self._changed.wait()
                elif wait_seconds := self._dispatch.wait_seconds(self._queue.tokens, now):
                    self._changed.wait(wait_seconds)
                else:
                    self._dispatch.begin(worker, self._queue.tokens, now)
                    return True

    def _end(self, worker: BatchWorker) -> None:
        """Note the end of a run, and wake a worker that may wait for it."""
        with self._changed:
            self._dispatch.end(worker)
            worker.free_since = self._clock()
            if self._queue:
                self._changed.notify()

    def _run(self, worker: BatchWorker, *, alone: bool) -> tuple[_Dequeued, BatchResult]:
        """Take a batch and run it. `alone`: no run of any model is active beside it."""
        with self._changed:
            taken = self._queue.take(self._clock())
            exclusive = self._dispatch.exclusive and alone and not self._queue
            self._running_tokens += taken.effective_tokens
            waiting_since = self._waiting_since
        started = self._clock()
        idle = started - max(worker.free_since, waiting_since)

        def run(encodings: Sequence[Encoding]) -> Rows:
            worker.busy_since = self._clock()
            return self._session.run(encodings, exclusive=exclusive)

        encodings = [entry.encoding for entry in taken.batch]
        rows = run_batch(run, encodings) if encodings else None
        if rows is not None and self.condense is not None:
            rows.make_sparse(self.condense, encodings)
        return taken, BatchResult(rows, exclusive, started, self._clock() - started, idle)

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        """Call a function on the event loop. After it has ended, no caller waits for a result."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)

    def _answer(self, taken: _Dequeued, result: BatchResult) -> None:
        """Deliver the results of a batch, on the event loop."""
        with self._changed:
            self._running_tokens -= taken.effective_tokens
        self._deliver(taken, result)

    def _deliver(self, taken: _Dequeued, result: BatchResult) -> None:
        self._inline.observe(taken, result)
        deliver_or_fail(taken, result, self._counters, self._admission.cost)

    def _fail_all(self) -> None:
        """Fail every request after a worker died. Runs on the event loop."""
        self._worker_died = True
        for request in self._pending:
            request.fail(InferenceFailed())
        self.close()
