"""The waiting entries, and the policy that forms batches of them. Pure: time is an argument.

A batch is chosen when a lane is free, from a window of the oldest entries. The oldest is always in
it, so an entry is passed over at most once for each entry that came before it. Of the others each
joins that makes the batch compute no fewer of its own tokens a second, and its run not much longer.
So a batch grows while it shares the fixed cost of a run, and ends where padding would eat the gain.

What padding costs is the graph's affair. Where it costs as much as text, those nearest to the
oldest in length are asked first; where it costs next to nothing, those that came first are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Generic, TypeVar

from semserve_server.cost import CostModel
from semserve_server.encoding import Encoding

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

DEAD_WEIGHT = 64
"""How many dropped entries may lie among the waiting ones before they are swept out."""

HANDOVER_SECONDS = 0.000_1
"""What a batch costs beside its run: to be chosen, and to be handed back to its callers."""

Owner = TypeVar("Owner")


@dataclass(slots=True, eq=False)
class Entry(Generic[Owner]):
    """An encoding that waits, with its owner and its place in the owner's request."""

    encoding: Encoding
    length: int
    deadline: float
    """Instant, on the queue's clock in seconds, after which no answer is wanted."""
    owner: Owner
    index: int
    waiting: bool = False
    """Whether it is in the queue and wanted."""


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
    """Entries in the order of their arrival. Not thread-safe: the batcher holds the lock."""

    def __init__(self, *, max_batch_tokens: int, cost: CostModel) -> None:
        self.max_batch_tokens = max_batch_tokens
        """Most tokens of a batch, padding counted as what it costs; a longer entry runs alone."""
        self._cost = cost
        self.tokens = 0
        """Tokens of all waiting entries."""
        self._size = 0
        self._order: deque[Entry[Owner]] = deque()

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        return f"<BatchQueue {len(self)} entries, batches of {self.max_batch_tokens} tokens>"

    def put(self, entries: Sequence[Entry[Owner]]) -> None:
        """Add entries; whether they may wait is decided before, by `admission`."""
        for entry in entries:
            entry.waiting = True
            self.tokens += entry.length
        self._size += len(entries)
        self._order.extend(entries)

    def drop(self, entries: Iterable[Entry[Owner]]) -> None:
        """Forget those of the entries that still wait: nobody wants their answer."""
        for entry in entries:
            if entry.waiting:
                self._leave(entry)
        if len(self._order) > 2 * self._size + DEAD_WEIGHT:
            self._order = deque(entry for entry in self._order if entry.waiting)

    def take(self, now: float) -> Taken[Owner]:
        """Remove the next batch, and every expired entry met on the way."""
        window, expired = self._window(now)
        batch = self._choose(window) if window else []
        for entry in batch:
            self._leave(entry)
        self._order.extendleft(entry for entry in reversed(window) if entry.waiting)
        return Taken(batch, expired, self._computed(batch))

    def _window(self, now: float) -> tuple[list[Entry[Owner]], list[Entry[Owner]]]:
        """Lift out the oldest living entries, some batches' worth of tokens, and the expired ones.

        Both in their order.
        """
        window: list[Entry[Owner]] = []
        expired: list[Entry[Owner]] = []
        tokens = 0
        while self._order and tokens < WINDOW_BATCHES * self.max_batch_tokens:
            entry = self._order.popleft()
            if not entry.waiting:
                continue
            if now < entry.deadline:
                window.append(entry)
                tokens += entry.length
            else:
                self._leave(entry)
                expired.append(entry)
        return window, expired

    def _leave(self, entry: Entry[Owner]) -> None:
        entry.waiting = False
        self.tokens -= entry.length
        self._size -= 1

    def _choose(self, window: list[Entry[Owner]]) -> list[Entry[Owner]]:
        """Take the oldest entry, and each other that does not make the batch compute less a second.

        Who comes first is asked first, but for what the padding between it and the oldest costs.
        """
        oldest, padding = window[0], self._cost.padding

        def distance(entry: Entry[Owner]) -> int:
            return int(padding * abs(entry.length - oldest.length))

        batch = [oldest]
        tokens = longest = oldest.length
        seconds = self._seconds(tokens, longest)
        for entry in sorted(window[1:], key=distance):  # stable: by age among the equally near
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
