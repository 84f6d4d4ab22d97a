"""What came of one batch, and how its entries are answered with it."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from semserve_server.errors import DeadlineExceeded, free_frames
from semserve_server.instrumentation.counters import ModelCounters
from semserve_server.scheduling.batch_queue import Taken
from semserve_server.scheduling.bisection import Outcome
from semserve_server.scheduling.cost_model import CostModel
from semserve_server.scheduling.request import Computed, Pending

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Finished:
    """What came of one batch."""

    outcome: Outcome | None
    """None where every entry had expired."""
    wide: bool
    """Whether the run had all threads."""
    started: float
    """Instant, on the batcher's clock in seconds."""
    seconds: float


def hand_out(
    taken: Taken[Pending], finished: Finished, tally: ModelCounters, cost: CostModel
) -> None:
    """Give each entry of a batch its row or its error, and count the run. On the event loop.

    Args:
        taken: the entries, and those that had expired.
        finished: what came of them.
        tally: counts the run.
        cost: learns from the run.
    """
    for entry in taken.expired:
        entry.owner.fail(DeadlineExceeded("the deadline passed in the queue"))
    tally.dropped["expired"] += len(taken.expired)
    outcome = finished.outcome
    if outcome is None:
        return
    tally.ran([one.length for one in taken.batch], taken.padded_tokens, finished.seconds)
    tally.failed_entries += len(outcome.failures)
    if not finished.wide and not outcome.failures:
        # What a run costs beside others is what admission asks.
        cost.observe(taken.computed_tokens, finished.seconds)
    computed = Computed(taken.longest, finished.started, finished.seconds)
    if outcome.failures or outcome.rows is None:
        _hand_out_failures(taken, outcome, computed)
        return
    for row, entry in zip(outcome.sparse or outcome.rows, taken.batch, strict=True):
        entry.owner.receive(entry, row, computed)


def _hand_out_failures(taken: Taken[Pending], outcome: Outcome, computed: Computed) -> None:
    """Tell the entries that failed apart from their neighbours."""
    failures = outcome.failures
    for place, entry in enumerate(taken.batch):
        if place in failures or outcome.rows is None:
            entry.owner.lose(entry, computed)
        else:
            entry.owner.receive(entry, (outcome.sparse or outcome.rows)[place], computed)
    log.error(
        "%d of %d entries failed in a run, of %s tokens",
        len(failures),
        len(taken.batch),
        sorted({taken.batch[place].length for place in failures}),
        exc_info=next(iter(failures.values())),
    )
    for error in failures.values():
        free_frames(error)
