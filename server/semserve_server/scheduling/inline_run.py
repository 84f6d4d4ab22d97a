"""Runs a lone request on the event loop's thread, without the hand-over to a worker and back.

A hand-over between threads takes 50 to 80 us where the other thread's CPU is idle, and the loop and
a worker then also wait for each other's release of the interpreter lock. The event loop answers
nothing during such a run, so `Dispatch` bounds its time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from semserve_server.runtime.runner import Runner
from semserve_server.scheduling.batch_queue import DequeuedBatch, Entry
from semserve_server.scheduling.batch_results import BatchResult
from semserve_server.scheduling.bisection import run_batch
from semserve_server.scheduling.concurrency_limit import ModelShare
from semserve_server.scheduling.dispatch import Dispatch
from semserve_server.scheduling.request import PendingRequest


class InlineRun:
    """The runs of one model on the event loop's thread. Used on the event loop."""

    def __init__(
        self,
        session: Runner,
        dispatch: Dispatch,
        share: ModelShare,
        clock: Callable[[], float],
        *,
        enabled: bool,
    ) -> None:
        """Create it without a run.

        Args:
            session: runs batches.
            dispatch: decides whether a run is short enough.
            share: the model's part of the active runs of all models.
            clock: in seconds.
            enabled: whether there are such runs: on a GPU there are none.
        """
        self._enabled = enabled
        self._session = session
        self._dispatch = dispatch
        self._share = share
        self._clock = clock

    def begin(self, entries: Sequence[Entry[PendingRequest]], now: float) -> bool:
        """Begin the run of a request if it has one entry, is short, and no other run is active."""
        return (
            self._enabled
            and len(entries) == 1
            and now < entries[0].deadline
            and self._dispatch.may_run_inline(entries[0].length)
            and self._share.begin_alone()
        )

    def run(
        self, entries: list[Entry[PendingRequest]]
    ) -> tuple[DequeuedBatch[PendingRequest], BatchResult]:
        """Run the entry for which `begin` returned True."""
        run = partial(self._session.run, exclusive=self._dispatch.exclusive)
        started = self._clock()
        try:
            rows = run_batch(run, [entry.encoding for entry in entries])
        finally:
            self._share.end()
        seconds = self._clock() - started
        result = BatchResult(rows, exclusive=True, started=started, seconds=seconds)
        return DequeuedBatch(entries, [], entries[0].length), result

    def observe(self, taken: DequeuedBatch[PendingRequest], result: BatchResult) -> None:
        """Learn from a run, on whatever thread."""
        if len(taken.batch) == 1:
            self._dispatch.observe_single(taken.effective_tokens, result.seconds)
