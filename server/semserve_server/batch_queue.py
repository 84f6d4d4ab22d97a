"""The waiting entries, and the policy that forms batches of them. Pure: time is an argument.

A batch is bounded by its padded tokens: entries times the longest of them. It is chosen when a lane
is free, from a window of the oldest entries: around the oldest, by length, as far as each one more
makes the batch compute more real tokens a second. So a batch grows while it shares the fixed cost
of a run, and ends where padding would eat the gain. The oldest entry is always in it, so an entry
is passed over at most once for each entry that came before it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Generic, TypeVar

from semserve_server.cost import CostModel
from semserve_server.encoding import Encoding

WINDOW_BATCHES = 8
"""How many batches' worth of tokens the window spans. Choosing among 7 batches' worth took fp32
throughput from 217 to 318 texts/s together with lanes, and wider windows gained nothing more."""

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

    @property
    def longest(self) -> int:
        """The length to which the batch is padded."""
        return max((entry.length for entry in self.batch), default=0)

    @property
    def padded_tokens(self) -> int:
        """What the batch costs."""
        return len(self.batch) * self.longest


class BatchQueue(Generic[Owner]):
    """Entries in the order of their arrival. Not thread-safe: the batcher holds the lock."""

    def __init__(self, *, max_batch_tokens: int, cost: CostModel) -> None:
        self.max_batch_tokens = max_batch_tokens
        """Most padded tokens of a batch; a single longer entry runs alone."""
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
        taken: Taken[Owner] = Taken([], [])
        window = self._window(now, taken)
        if not window:
            return taken
        oldest = window[0]
        by_length = sorted(window, key=attrgetter("length"))
        start, stop = self._span(by_length, by_length.index(oldest))
        taken.batch.extend(by_length[start:stop])
        for entry in taken.batch:
            self._leave(entry)
        self._order.extendleft(entry for entry in reversed(window) if entry.waiting)
        return taken

    def _window(self, now: float, taken: Taken[Owner]) -> list[Entry[Owner]]:
        """Lift out the oldest living entries, some batches' worth of tokens, in their order."""
        window: list[Entry[Owner]] = []
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
                taken.expired.append(entry)
        return window

    def _leave(self, entry: Entry[Owner]) -> None:
        entry.waiting = False
        self.tokens -= entry.length
        self._size -= 1

    def _span(self, by_length: list[Entry[Owner]], oldest: int) -> tuple[int, int]:
        """Grow from the oldest entry to its neighbours in length, while that pays and fits.

        In a simulation of 64 callers with real questions on two lanes it computed 8 % more texts a
        second than filling the budget does, padding 5 % instead of 19 %.
        """
        start, stop = oldest, oldest + 1
        tokens = longest = by_length[oldest].length
        rate = self._rate(tokens, longest)
        while True:
            size = stop - start + 1
            shorter = by_length[start - 1].length if start else 0
            longer = by_length[stop].length if stop < len(by_length) else 0
            shorter_rate = self._rate(tokens + shorter, size * longest) if shorter else 0.0
            longer_rate = self._rate(tokens + longer, size * longer) if longer else 0.0
            best = max(shorter_rate, longer_rate)
            if not best or best < rate:
                return start, stop
            if longer_rate >= shorter_rate:
                stop += 1
                tokens, longest, rate = tokens + longer, longer, longer_rate
            else:
                start -= 1
                tokens, rate = tokens + shorter, shorter_rate

    def _rate(self, tokens: int, padded_tokens: int) -> float:
        """Predict how many of a batch's own tokens it computes in a second; 0 if it may not be."""
        if padded_tokens > self.max_batch_tokens:
            return 0.0
        return tokens / (HANDOVER_SECONDS + self._cost.seconds(padded_tokens))
