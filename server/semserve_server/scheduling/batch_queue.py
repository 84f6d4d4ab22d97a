"""The waiting entries, and the policy that forms batches of them. Pure: time is an argument.

A batch is chosen when a lane is free, from a window of the first entries. `fair_queue` says which
are first: the oldest of each caller in turns, so that the many texts of one caller do not hold up
the few of another. The very first entry is always in the batch. Each other joins that makes the
batch compute no fewer of its own tokens a second, and its run not much longer. So a batch grows
while it shares the fixed cost of a run, and ends where padding would eat the gain.

What padding costs depends on the graph. Where it costs as much as text, the entries nearest to the
first in length are tried first; where it costs next to nothing, they are tried in their order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Generic

from semserve_server.scheduling.admission import Backlog, Demand
from semserve_server.scheduling.cost_model import CostModel
from semserve_server.scheduling.fair_queue import Entry, FairQueue, Owner

__all__ = ["BatchQueue", "Entry", "Taken"]

WINDOW_BATCHES = 8
"""How many batches' worth of tokens the window spans. Choosing among 7 batches' worth took fp32
throughput from 217 to 318 texts/s together with lanes, and wider windows gained nothing more."""

MOST_PADDED = 4
"""How many times the budget a batch may have in padded tokens, however little they cost: attention
holds numbers for each pair of a text's."""

MOST_LONGER = 2
"""How many times longer a run may become by one entry that joins: a question that came just before
a page of text is not to wait for it. In a simulation of both, where padding costs little, the p99
of questions was 26 ms with it and 32 without, and 12 where there were no pages."""

HANDOVER_SECONDS = 0.000_1
"""What a batch costs beside its run: to be chosen, and to be handed back to its callers."""


@dataclass(frozen=True, slots=True)
class Taken(Generic[Owner]):
    """What one `take` removed from the queue."""

    batch: list[Entry[Owner]]
    """Entries to run together; empty where none was in time."""
    expired: list[Entry[Owner]]
    """Entries whose deadline had passed."""
    computed_tokens: int
    """What the batch costs: its tokens, and its padding as so many as it costs."""

    @property
    def longest(self) -> int:
        """The length to which the batch is padded."""
        return max((entry.length for entry in self.batch), default=0)

    @property
    def padded_tokens(self) -> int:
        """Of the batch, padding and all."""
        return len(self.batch) * self.longest


class BatchQueue(Generic[Owner]):
    """Entries of all callers, taken in batches. Not thread-safe: the batcher holds the lock."""

    def __init__(self, *, max_batch_tokens: int, cost: CostModel) -> None:
        self.max_batch_tokens = max_batch_tokens
        """Most tokens of a batch, padding counted as what it costs; a longer entry runs alone."""
        self._cost = cost
        self._window_tokens = WINDOW_BATCHES * max_batch_tokens
        self._entries: FairQueue[Owner] = FairQueue(most_ahead=self._window_tokens)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<BatchQueue {len(self)} entries, batches of {self.max_batch_tokens} tokens>"

    @property
    def tokens(self) -> int:
        """Tokens of all waiting entries."""
        return self._entries.tokens

    @property
    def held(self) -> int:
        """What the queue keeps in memory: entries, dropped ones included, and items of callers."""
        return self._entries.held

    def backlog(self, caller: str) -> Backlog:
        """Return what is queued, as a caller finds it that asks for more."""
        own = Demand(*self._entries.of(caller))
        return Backlog(
            len(self), self.tokens, own=own, others=self._entries.callers - bool(own.entries)
        )

    def put(self, entries: Sequence[Entry[Owner]]) -> None:
        """Add entries; whether they may wait is decided before, by `admission`."""
        self._entries.put(entries)

    def drop(self, entries: Iterable[Entry[Owner]]) -> None:
        """Forget those of the entries that still wait: nobody wants their answer."""
        self._entries.drop(entries)

    def take(self, now: float) -> Taken[Owner]:
        """Remove the next batch, and every expired entry met on the way."""
        window, expired = self._entries.lift(now, self._window_tokens)
        batch = self._choose(window) if window else []
        self._entries.settle(window, batch)
        return Taken(batch, expired, self._computed(batch))

    def _choose(self, window: list[Entry[Owner]]) -> list[Entry[Owner]]:
        """Take the first entry, and each other that does not make the batch compute less a second.

        They are tried in their order, but for what the padding between each and the first costs.
        """
        first, padding = window[0], self._cost.padding

        def distance(entry: Entry[Owner]) -> int:
            return int(padding * abs(entry.length - first.length))

        batch = [first]
        tokens = longest = first.length
        seconds = self._seconds(tokens, longest)
        for entry in sorted(window[1:], key=distance):  # stable: in order among the equally near
            tokens_with, longest_with = tokens + entry.length, max(longest, entry.length)
            if tokens_with > self.max_batch_tokens:  # needs no prediction
                continue
            seconds_with = self._seconds(tokens_with, longest_with * (len(batch) + 1))
            no_slower = tokens_with * seconds >= tokens * seconds_with
            if no_slower and seconds_with <= MOST_LONGER * seconds < inf:
                batch.append(entry)
                tokens, longest, seconds = tokens_with, longest_with, seconds_with
        return batch

    def _computed(self, batch: list[Entry[Owner]]) -> int:
        longest = max((entry.length for entry in batch), default=0)
        tokens = sum(entry.length for entry in batch)
        return round(self._cost.computed(tokens, len(batch) * longest))

    def _seconds(self, tokens: int, padded_tokens: int) -> float:
        """Predict how long a batch takes; for ever if it may not be."""
        computed = self._cost.computed(tokens, padded_tokens)
        if computed > self.max_batch_tokens or padded_tokens > MOST_PADDED * self.max_batch_tokens:
            return inf
        return HANDOVER_SECONDS + self._cost.seconds(computed)
