"""The results of one batch, and how they are delivered to the requests."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from semserve_server.errors import DeadlineExceeded, InferenceFailed, free_frames
from semserve_server.instrumentation.counters import ModelCounters
from semserve_server.scheduling.batch_queue import LENGTH, DequeuedBatch
from semserve_server.scheduling.bisection import RunResult
from semserve_server.scheduling.cost_model import CostModel
from semserve_server.scheduling.request import BatchTiming, PendingRequest

log = logging.getLogger(__name__)


@dataclass(slots=True)
class BatchResult:
    """The results of one batch."""

    run: RunResult | None
    """None if every entry had expired."""
    exclusive: bool
    """Whether the run used all threads."""
    started: float
    """Instant, in seconds of the batcher's clock."""
    seconds: float
    idle_seconds: float = 0.0
    """Time before it in which its worker was free and entries waited."""


def deliver_or_fail(
    taken: DequeuedBatch[PendingRequest],
    result: BatchResult,
    counters: ModelCounters,
    cost: CostModel,
) -> None:
    """Call `deliver`; if that raises, fail every request of the batch that has no result yet."""
    try:
        deliver(taken, result, counters, cost)
    except Exception:
        for entry in (*taken.expired, *taken.batch):
            entry.owner.fail(InferenceFailed())
        log.exception("delivering the results of a batch failed. This is a bug.")


def deliver(
    taken: DequeuedBatch[PendingRequest],
    result: BatchResult,
    counters: ModelCounters,
    cost: CostModel,
) -> None:
    """Give each entry of a batch its row or its error, and count the run. Used on the event loop.

    Args:
        taken: the entries of the batch, and the expired ones.
        result: the results of the batch.
        counters: counts the run.
        cost: learns from the run.
    """
    for entry in taken.expired:
        entry.owner.fail(DeadlineExceeded("the deadline passed in the queue"))
    counters.dropped["expired"] += len(taken.expired)
    run = result.run
    if run is None:
        return
    counters.observe_run([*map(LENGTH, taken.batch)], taken.padded_tokens, result.seconds)
    counters.worker_idle_seconds += result.idle_seconds
    counters.failed_entries += len(run.failures)
    if not result.exclusive and not run.failures:
        # Admission control predicts runs that share the CPUs with others, so it learns only from
        # those.
        cost.observe(taken.effective_tokens, result.seconds)
    timing = BatchTiming(taken.longest, result.started, result.seconds)
    if run.failures or run.rows is None:
        _deliver_failures(taken, run, timing)
        return
    for row, entry in zip(run.sparse or run.rows, taken.batch, strict=True):
        entry.owner.add_row(entry, row, timing)


def _deliver_failures(
    taken: DequeuedBatch[PendingRequest], run: RunResult, timing: BatchTiming
) -> None:
    """Deliver a batch in which some entries failed."""
    failures = run.failures
    for place, entry in enumerate(taken.batch):
        if place in failures or run.rows is None:
            entry.owner.add_failure(entry, timing)
        else:
            entry.owner.add_row(entry, (run.sparse or run.rows)[place], timing)
    log.error(
        "%d of %d entries failed in a run, of %s tokens",
        len(failures),
        len(taken.batch),
        sorted({taken.batch[place].length for place in failures}),
        exc_info=next(iter(failures.values())),
    )
    for error in failures.values():
        free_frames(error)
