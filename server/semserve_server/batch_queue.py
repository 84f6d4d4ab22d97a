"""The waiting entries, and the policy that forms batches of them. Pure: time is an argument.

A batch is bounded by its padded tokens: entries times the longest of them. It is chosen when a lane
is free, from a window of the oldest entries, by length, so that little is padded. The oldest entry
is always in it, so an entry is passed over at most once for each entry that came before it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Generic, TypeVar

from semserve_server.encoding import Encoding

WINDOW_BATCHES = 8
"""How many batches' worth of tokens the window spans. Choosing among 7 batches' worth took fp32
throughput from 217 to 318 texts/s together with lanes, and wider windows gained nothing more."""

DEAD_WEIGHT = 64
"""How many dropped entries may lie among the waiting ones before they are swept out."""

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

    def __init__(self, *, max_batch_tokens: int) -> None:
        self.max_batch_tokens = max_batch_tokens
        """Most padded tokens of a batch; a single longer entry runs alone."""
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
        """Grow from the oldest entry to its nearest neighbours in length within the budget.

        Three cases for each step: a neighbour on both sides, of which the nearer in length comes
        first; a neighbour on one side; and none, or none that fits, which ends the batch.
        """
        start, stop = oldest, oldest + 1
        while True:
            shorter = by_length[start - 1] if start else None
            longer = by_length[stop] if stop < len(by_length) else None
            room = self.max_batch_tokens // (stop - start + 1)
            if longer is not None and longer.length > room:
                longer = None
            if by_length[stop - 1].length > room or (shorter is None and longer is None):
                return start, stop
            if longer is None or (
                shorter is not None
                and by_length[start].length - shorter.length
                < longer.length - by_length[stop - 1].length
            ):
                start -= 1
            else:
                stop += 1
