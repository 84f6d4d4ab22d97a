"""The queue of entries, and the policy that forms batches. Pure: time is an argument.

A worker takes a batch when it is free. The batch is chosen from a window of the first entries.
`fair_queue` orders the entries: the oldest of each caller in turns, so that a caller with many
texts does not delay a caller with few. The first entry is always in the batch. Another entry joins
if the batch then computes no fewer of its own tokens per second, and if its run does not get much
longer. So a batch grows while it shares the fixed cost of a run, and stops growing where padding
would cancel the gain.

The cost of padding depends on the graph. If padding costs as much as text, the policy tries the
entries nearest in length to the first one first. If padding costs almost nothing, it tries the
entries in their order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Generic

from semserve_server.scheduling.admission import Backlog, QueueLoad
from semserve_server.scheduling.cost_model import CostModel
from semserve_server.scheduling.fair_queue import Entry, FairQueue, Owner

__all__ = ["BatchQueue", "DequeuedBatch", "Entry"]

WINDOW_BATCHES = 8
"""Size of the window, in batches of the largest size. Choosing among 7 batches raised the fp32
throughput from 217 to 318 texts/s (together with several workers); wider windows gained nothing
more."""

MAX_WINDOW_TOKENS = 16_384
"""Most tokens of the window, except that it always holds `MIN_WINDOW_BATCHES`. Every entry of the
window costs about 2 us for each batch, and a GPU has batches of thousands of entries."""
MIN_WINDOW_BATCHES = 2

MAX_PADDED_FACTOR = 4
"""Most padded tokens of a batch, as a multiple of `max_batch_tokens`, even if padding costs
almost nothing: attention needs memory for each pair of tokens of a text."""

MAX_TIME_FACTOR = 2
"""How many times longer a run may become when an entry joins: a question that arrived just
before a page of text must not wait for the page. In a simulation of both, with cheap padding,
the p99 of questions was 26 ms with this limit, 32 ms without it, and 12 ms without pages."""

HANDOVER_SECONDS = 0.000_1
"""Seconds that a batch costs besides its run: to choose it, and to return its results."""


@dataclass(frozen=True, slots=True)
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
        return max((entry.length for entry in self.batch), default=0)

    @property
    def padded_tokens(self) -> int:
        """Tokens of the batch, padding included."""
        return len(self.batch) * self.longest


class BatchQueue(Generic[Owner]):
    """The queued entries of all callers. Not thread-safe: the batcher holds the lock."""

    def __init__(self, *, max_batch_tokens: int, cost: CostModel) -> None:
        self.max_batch_tokens = max_batch_tokens
        """Most effective tokens of a batch; a longer entry runs alone."""
        self._cost = cost
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
        own = QueueLoad(*self._entries.load_of(caller))
        return Backlog(
            len(self), self.tokens, own=own, others=self._entries.callers - bool(own.entries)
        )

    def put(self, entries: Sequence[Entry[Owner]]) -> None:
        """Add entries. `admission` has decided before that they may wait."""
        self._entries.put(entries)

    def drop(self, entries: Iterable[Entry[Owner]]) -> None:
        """Remove those of the entries that are still queued. Their results are not wanted."""
        self._entries.drop(entries)

    def take(self, now: float) -> DequeuedBatch[Owner]:
        """Remove the next batch, and every expired entry found on the way."""
        window, expired = self._entries.pop_window(now, self._window_tokens)
        batch = self._choose(window) if window else []
        self._entries.commit(window, batch)
        return DequeuedBatch(batch, expired, self._computed(batch))

    def _choose(self, window: list[Entry[Owner]]) -> list[Entry[Owner]]:
        """Choose the first entry, and every other one that does not lower the tokens per second.

        Entries are tried in their order, after a sort by the cost of the padding between each and
        the first.
        """
        first, padding = window[0], self._cost.padding

        def distance(entry: Entry[Owner]) -> int:
            return int(padding * abs(entry.length - first.length))

        batch = [first]
        tokens = longest = first.length
        seconds = self._seconds(tokens, longest)
        for entry in sorted(window[1:], key=distance):  # the sort is stable
            tokens_with, longest_with = tokens + entry.length, max(longest, entry.length)
            if tokens_with > self.max_batch_tokens:  # needs no prediction
                continue
            seconds_with = self._seconds(tokens_with, longest_with * (len(batch) + 1))
            no_slower = tokens_with * seconds >= tokens * seconds_with
            if no_slower and seconds_with <= MAX_TIME_FACTOR * seconds < inf:
                batch.append(entry)
                tokens, longest, seconds = tokens_with, longest_with, seconds_with
        return batch

    def _computed(self, batch: list[Entry[Owner]]) -> int:
        longest = max((entry.length for entry in batch), default=0)
        tokens = sum(entry.length for entry in batch)
        return round(self._cost.effective_tokens(tokens, len(batch) * longest))

    def _seconds(self, tokens: int, padded_tokens: int) -> float:
        """Predict how long a batch takes; infinite if the batch is too large."""
        computed = self._cost.effective_tokens(tokens, padded_tokens)
        if (
            computed > self.max_batch_tokens
            or padded_tokens > MAX_PADDED_FACTOR * self.max_batch_tokens
        ):
            return inf
        return HANDOVER_SECONDS + self._cost.seconds(computed)
