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

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from math import inf
from operator import attrgetter
from typing import Generic

from semserve_server.scheduling.admission import Backlog, QueueLoad
from semserve_server.scheduling.caller_queue import Entry, Owner
from semserve_server.scheduling.cost_model import CostModel
from semserve_server.scheduling.fair_queue import FairQueue

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

MAX_REFUSED = 64
"""After this many entries in a row that do not join, the search ends. Entries are then sorted by
the cost of their padding, so those that follow would cost more still."""

LENGTH = attrgetter("length")
"""Returns the tokens of an entry."""
HANDOVER_SECONDS = 0.000_1
"""Seconds that a batch costs besides its run: to choose it, and to return its results."""


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
        expired: list[Entry[Owner]] = []
        alike, tokens = self._take_alike(now)
        window = self._entries.pop(now, self._window_tokens - tokens, expired)
        first = alike or [*islice(window, 1)]
        if not first:
            self._entries.commit([], [])
            return DequeuedBatch([], expired, 0)
        batch = _GrowingBatch(first, self._cost, self.max_batch_tokens)
        skipped = self._fill(batch, first[0].length, window)
        self._entries.commit(batch.entries[len(alike) :], skipped)
        return DequeuedBatch(batch.entries, expired, batch.effective_tokens)

    def _take_alike(self, now: float) -> tuple[list[Entry[Owner]], int]:
        """Remove the first entries at once where all are equally long, as many as a batch holds.

        Such entries cost no padding, so each of them joins: a batch with it computes no fewer of
        its own tokens per second.

        Returns:
            The entries, and their tokens.
        """
        length = self._entries.common_length
        if not length:
            return [], 0
        alike = self._entries.pop_alike(now, self.max_batch_tokens // length)
        return alike, len(alike) * length

    def _fill(
        self, batch: _GrowingBatch[Owner], length: int, window: Generator[Entry[Owner]]
    ) -> list[Entry[Owner]]:
        """Add every entry of the window that does not lower the tokens per second.

        Entries are tried in their order, after a sort by the cost of the padding between each and
        the first. Those without such a cost are tried while they leave the queue, so that a full
        batch ends the search, and its work does not grow with the window.

        Args:
            batch: has the first entries.
            length: tokens of the first one.
            window: further entries.

        Returns:
            The entries that left the queue and did not join, in their order.
        """
        padding = self._cost.padding
        skipped: list[Entry[Owner]] = []
        unlike: list[Entry[Owner]] = []
        for entry in window:
            if padding * abs(entry.length - length) >= 1:
                unlike.append(entry)
                skipped.append(entry)
            elif not batch.add(entry):
                skipped.append(entry)
                if batch.full:
                    window.close()
                    return skipped
        if not unlike:
            return skipped
        unlike.sort(key=lambda entry: int(padding * abs(entry.length - length)))  # stable
        refused = 0
        for entry in unlike:
            refused = 0 if batch.add(entry) else refused + 1
            if refused == MAX_REFUSED or (refused and batch.full):
                break
        chosen = set(map(id, batch.entries))
        return [entry for entry in skipped if id(entry) not in chosen]


class _GrowingBatch(Generic[Owner]):
    """A batch that entries join as long as that lowers neither its speed nor passes its limits."""

    __slots__ = ("_cost", "_longest", "_most", "_seconds", "_shortest", "_tokens", "entries")

    def __init__(
        self, first: Sequence[Entry[Owner]], cost: CostModel, max_batch_tokens: int
    ) -> None:
        """Create a batch of one entry, or of several that are equally long."""
        self.entries = [*first]
        self._cost = cost
        self._most = max_batch_tokens
        self._longest = self._shortest = first[0].length
        self._tokens = len(first) * self._longest
        self._seconds = self._predict(self._tokens, self._tokens)

    def add(self, entry: Entry[Owner]) -> bool:
        """Add an entry if the batch then computes no fewer of its own tokens per second."""
        length = entry.length
        self._shortest = min(self._shortest, length)
        tokens = self._tokens + length
        if tokens > self._most:  # needs no prediction
            return False
        longest = max(self._longest, length)
        seconds = self._predict(tokens, longest * (len(self.entries) + 1))
        present = self._seconds
        if tokens * present < self._tokens * seconds:
            return False
        if not seconds <= MAX_TIME_FACTOR * present < inf:
            return False
        self.entries.append(entry)
        self._tokens, self._longest, self._seconds = tokens, longest, seconds
        return True

    @property
    def effective_tokens(self) -> int:
        """Cost in tokens: its tokens, and its padding at its measured cost."""
        padded_tokens = len(self.entries) * self._longest
        return round(self._cost.effective_tokens(self._tokens, padded_tokens))

    @property
    def full(self) -> bool:
        """Whether not even an entry as short as the shortest that was tried fits."""
        tokens = self._tokens + self._shortest
        padded_tokens = self._longest * (len(self.entries) + 1)
        return tokens > self._most or self._predict(tokens, padded_tokens) == inf

    def _predict(self, tokens: int, padded_tokens: int) -> float:
        """Predict how long a batch takes; infinite if the batch is too large."""
        cost = self._cost
        computed = tokens + cost.padding * (padded_tokens - tokens)
        if computed > self._most or padded_tokens > MAX_PADDED_FACTOR * self._most:
            return inf
        return HANDOVER_SECONDS + cost.fixed + cost.per_token * computed
