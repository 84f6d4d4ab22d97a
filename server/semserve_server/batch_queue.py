"""The waiting entries, and the policy that forms batches of them. Pure: time is an argument.

A batch is bounded by its padded tokens: entries times the longest of them. It is chosen when a lane
is free, from a window of the oldest entries, by length, so that little is padded. The oldest entry
is always in it, so an entry is passed over at most once for each entry that came before it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Protocol

from semserve_server.encoding import Encoding

WINDOW_BATCHES = 8
"""How many batches' worth of tokens the window spans. Choosing among 7 batches' worth took fp32
throughput from 217 to 318 texts/s together with lanes, and wider windows gained nothing more."""


class Owner(Protocol):
    """Whoever waits for an entry."""

    @property
    def deadline(self) -> float:
        """Instant, on the queue's clock in seconds, after which no answer is wanted."""

    @property
    def gone(self) -> bool:
        """Whether nobody waits any more."""


@dataclass(slots=True, eq=False)
class Entry:
    """An encoding that waits, with its owner and its place in the owner's request."""

    encoding: Encoding
    length: int
    owner: Owner
    index: int


@dataclass(frozen=True, slots=True)
class Taken:
    """What one `take` removed from the queue."""

    batch: list[Entry]
    """Entries to run together; empty where none was left alive."""
    expired: list[Entry]
    """Entries whose deadline had passed."""
    abandoned: list[Entry]
    """Entries whose owner had gone."""


class BatchQueue:
    """Entries in the order of their arrival. Not thread-safe: the batcher holds the lock."""

    def __init__(self, *, max_batch_tokens: int) -> None:
        self.max_batch_tokens = max_batch_tokens
        """Most padded tokens of a batch; a single longer entry runs alone."""
        self.tokens = 0
        """Tokens of all waiting entries."""
        self._waiting: deque[Entry] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def __repr__(self) -> str:
        return f"<BatchQueue {len(self)} entries, batches of {self.max_batch_tokens} tokens>"

    def put(self, entries: Sequence[Entry]) -> None:
        """Add entries; whether they may wait is decided before, by `admission`."""
        self._waiting.extend(entries)
        self.tokens += sum(entry.length for entry in entries)

    def take(self, now: float) -> Taken:
        """Remove the next batch, and every dead entry met on the way."""
        taken = Taken([], [], [])
        window = self._window(now, taken)
        if not window:
            return taken
        oldest = window[0]
        by_length = sorted(window, key=attrgetter("length"))
        start, stop = self._span(by_length, by_length.index(oldest))
        taken.batch.extend(by_length[start:stop])
        chosen = set(map(id, taken.batch))
        self._waiting.extendleft(entry for entry in reversed(window) if id(entry) not in chosen)
        self.tokens -= sum(entry.length for entry in taken.batch)
        return taken

    def _window(self, now: float, taken: Taken) -> list[Entry]:
        """Remove the oldest living entries, some batches' worth of tokens, in their order."""
        window: list[Entry] = []
        tokens = 0
        while self._waiting and tokens < WINDOW_BATCHES * self.max_batch_tokens:
            entry = self._waiting.popleft()
            if not entry.owner.gone and now < entry.owner.deadline:
                window.append(entry)
                tokens += entry.length
                continue
            self.tokens -= entry.length
            (taken.abandoned if entry.owner.gone else taken.expired).append(entry)
        return window

    def _span(self, by_length: list[Entry], oldest: int) -> tuple[int, int]:
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
