"""The queue of entries, and the policy that forms batches. Pure: time is an argument.

A worker takes a batch when it is free. The batch is chosen from a window of the first entries.
`fair_queue` orders the entries: the oldest of each caller in turns, so that a caller with many
texts does not delay a caller with few. The first entry is always in the batch. Another entry joins
if the batch then computes no fewer of its own tokens per second, and if its run does not get much
longer. So a batch grows while it shares the fixed cost of a run, and stops growing where padding
would cancel the gain.

The cost of padding depends on the graph. If padding costs as much as text, the policy tries the
entries nearest in length to the first one first. If padding costs almost nothing, it tries the
entries in their order. A long queue lowers what counts as almost nothing.

Batches of few entries are formed entry by entry (`entry_search`), and batches of many length by
length (`length_search`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Generic

from semserve_server.scheduling.admission import Backlog, QueueLoad
from semserve_server.scheduling.caller_queue import Entry, Owner
from semserve_server.scheduling.cost_model import CostModel
from semserve_server.scheduling.fair_queue import FairQueue
from semserve_server.scheduling.selection.entry_search import search_entries
from semserve_server.scheduling.selection.length_search import search_lengths
from semserve_server.scheduling.selection.limits import (
    COARSE_STEP,
    FINE_STEP,
    LONG_QUEUE_BATCHES,
)

__all__ = ["BatchQueue", "DequeuedBatch", "Entry"]

WINDOW_BATCHES = 8
"""Size of the window, in batches of the largest size. Choosing among 7 batches raised the fp32
throughput from 217 to 318 texts/s (together with several workers); wider windows gained nothing
more."""

MAX_WINDOW_TOKENS = 16_384
"""Most tokens of the window, except that it always holds `MIN_WINDOW_BATCHES`. Every entry of the
window costs about 2 us for each batch, and a GPU has batches of thousands of entries."""
MIN_WINDOW_BATCHES = 2

MIN_MANY_ENTRIES = 128
"""Expected entries of a batch from which it is formed by lengths, if they are also as many as the
callers, and `MIN_MANY_SHARE` of the queue. The search by lengths takes about 0.1 ms, 2 us for each
caller and 0.04 us for each queued entry; the search by entries 2 us for each that it tries."""
MIN_MANY_SHARE = 1 / 16

LENGTH = attrgetter("length")
"""Returns the tokens of an entry."""


@dataclass(slots=True)
class DequeuedBatch(Generic[Owner]):
    """What one call of `take` removed from the queue."""

    batch: list[Entry[Owner]]
    """Entries to run together; empty if every entry had expired."""
    expired: list[Entry[Owner]]
    """Entries whose deadline had passed."""
    effective_tokens: int
    """Cost of the batch in tokens: its tokens, and its padding at its measured cost."""

    @property
    def longest(self) -> int:
        """Length to which the batch is padded, in tokens."""
        return max(map(LENGTH, self.batch), default=0)

    @property
    def padded_tokens(self) -> int:
        """Tokens of the batch, padding included."""
        return len(self.batch) * self.longest


class BatchQueue(Generic[Owner]):
    """The queued entries of all callers. Not thread-safe: the batcher holds the lock."""

    def __init__(
        self, *, max_batch_tokens: int, cost: CostModel, min_many_entries: int = MIN_MANY_ENTRIES
    ) -> None:
        """Create an empty queue.

        Args:
            max_batch_tokens: most effective tokens of a batch; a longer entry runs alone.
            cost: predicts the time of a run.
            min_many_entries: expected entries of a batch from which it is formed by lengths.
        """
        self.max_batch_tokens = max_batch_tokens
        """Most effective tokens of a batch; a longer entry runs alone."""
        self._cost = cost
        self._min_many_entries = min_many_entries
        self._window_tokens = max(
            min(WINDOW_BATCHES * max_batch_tokens, MAX_WINDOW_TOKENS),
            MIN_WINDOW_BATCHES * max_batch_tokens,
        )
        self._entries: FairQueue[Owner] = FairQueue(max_lead=self._window_tokens)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<BatchQueue {len(self)} entries, batches of {self.max_batch_tokens} tokens>"

    @property
    def tokens(self) -> int:
        """Tokens of all queued entries."""
        return self._entries.tokens

    @property
    def stored(self) -> int:
        """Number of objects in memory: entries, dropped ones included, and heap items."""
        return self._entries.stored

    def backlog(self, caller: str) -> Backlog:
        """Return what is in the queue, from the point of view of one caller."""
        entries = self._entries
        load = QueueLoad(*entries.load_of(caller))
        others = entries.callers - (load.entries > 0)
        return Backlog(len(entries), entries.tokens, load, others)

    def put(self, entries: Sequence[Entry[Owner]]) -> None:
        """Add entries. `admission` has decided before that they may wait."""
        self._entries.put(entries)

    def drop(self, entries: Iterable[Entry[Owner]]) -> None:
        """Remove those of the entries that are still queued. Their results are not wanted."""
        self._entries.drop(entries)

    def take(self, now: float) -> DequeuedBatch[Owner]:
        """Remove the next batch, and every expired entry found on the way."""
        entries, callers = len(self), self._entries.callers
        expected = min(entries, self.max_batch_tokens * entries // max(self.tokens, 1))
        if expected >= max(self._min_many_entries, callers, MIN_MANY_SHARE * entries):
            return self._take_many(now)
        return self._take_few(now)

    @property
    def _padding_step(self) -> float:
        long = self.tokens >= LONG_QUEUE_BATCHES * self.max_batch_tokens
        return FINE_STEP if long else COARSE_STEP

    def _take_few(self, now: float) -> DequeuedBatch[Owner]:
        expired: list[Entry[Owner]] = []
        window = self._entries.pop(now, self._window_tokens, expired)
        batch = search_entries(window, self._cost, self.max_batch_tokens, step=self._padding_step)
        chosen = batch.entries if batch else []
        self._entries.commit(chosen)
        return DequeuedBatch(chosen, expired, batch.effective_tokens if batch else 0)

    def _take_many(self, now: float) -> DequeuedBatch[Owner]:
        expired: list[Entry[Owner]] = []
        window = self._entries.window(now, self._window_tokens, expired)
        if window is None:
            return DequeuedBatch([], expired, 0)
        chosen, tokens = search_lengths(
            window.lengths, self._cost, self.max_batch_tokens, step=self._padding_step
        )
        return DequeuedBatch(self._entries.serve(window, chosen), expired, tokens)
