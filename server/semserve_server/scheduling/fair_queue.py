"""Entries of many callers, in an order that shares the runs fairly among the callers. Pure.

Weighted fair queueing with equal weights. Each caller that has entries waiting has a virtual time:
the tokens that it would have been given by now if the tokens of all callers were handed out in
turns, one each. The next entry is the oldest of the caller whose virtual time is the lowest, and
its tokens are then added to that. A caller begins at the present virtual time of the queue, so it
neither saves up for being idle nor waits for what others have queued before it. With one caller,
and with callers of one entry each, the order is that of arrival.

The virtual time of the queue is that of WF2Q+ (Bennett and Zhang, "Hierarchical Packet Fair
Queueing Algorithms", 1996): it grows by the tokens that run, divided by the callers that wait, and
is never lower than the lowest of theirs. So it passes every waiting caller's own in the end, and
no caller starves however many new ones come.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from math import inf
from typing import Generic, TypeVar

from semserve_server.runtime.encoding import Encoding

Owner = TypeVar("Owner")

DEAD_ENTRIES = 8
"""How many dropped entries of one caller may lie among its waiting ones before they are removed."""
DEAD_CALLERS = 64
"""How many outdated items the heap of callers may hold before it is built anew."""


@dataclass(slots=True, eq=False)
class Entry(Generic[Owner]):
    """An encoding that waits, with its owner and its place in the owner's request."""

    encoding: Encoding
    length: int
    deadline: float
    """Instant, on the queue's clock in seconds, after which no answer is wanted."""
    owner: Owner
    index: int
    caller: str = ""
    """Whose share of the runs it uses."""
    waiting: bool = False
    """Whether it is in the queue and wanted."""


class _Caller(Generic[Owner]):
    """The entries of one caller, the oldest first, and its place among the callers."""

    __slots__ = ("entries", "ticket", "time", "tokens", "waiting")

    def __init__(self, time: float) -> None:
        self.entries: deque[Entry[Owner]] = deque()
        self.waiting = 0
        """Entries that are wanted; `entries` may hold dropped ones too."""
        self.tokens = 0
        self.time = time
        """Its virtual time, in tokens."""
        self.ticket = 0
        """Number of its item in the heap; items of other numbers are outdated. 0 for none."""


class FairQueue(Generic[Owner]):
    """The waiting entries of all callers. Not thread-safe.

    It holds nothing of a caller that has no entry waiting. An entry costs O(log callers).
    """

    def __init__(self, *, most_ahead: float) -> None:
        """Make an empty queue.

        Args:
            most_ahead: tokens; how far a caller that used what others left over may fall behind
                them for it later.
        """
        self.tokens = 0
        """Tokens of all waiting entries."""
        self._size = 0
        self._most_ahead = most_ahead
        self._time = 0.0
        self._callers: dict[str, _Caller[Owner]] = {}
        self._heap: list[tuple[float, int, _Caller[Owner]]] = []
        self._tickets = count(1)
        self._lifted: dict[_Caller[Owner], int] = {}
        """Callers of what is lifted, with the tickets that they had; 0 once one was chosen."""

    def __len__(self) -> int:
        return self._size

    @property
    def callers(self) -> int:
        """Callers that have entries waiting."""
        return len(self._callers)

    @property
    def held(self) -> int:
        """Entries and items that are in memory, dropped ones included."""
        return len(self._heap) + sum(len(one.entries) for one in self._callers.values())

    def of(self, caller: str) -> tuple[int, int]:
        """Return how many entries of a caller wait, and how many tokens they have."""
        found = self._callers.get(caller)
        return (found.waiting, found.tokens) if found else (0, 0)

    def put(self, entries: Sequence[Entry[Owner]]) -> None:
        """Add entries, each behind those of its caller."""
        for entry in entries:
            caller = self._callers.get(entry.caller)
            if caller is None:
                caller = self._callers[entry.caller] = _Caller(self._time)
                self._push(caller, caller.time, next(self._tickets))
            entry.waiting = True
            caller.entries.append(entry)
            caller.waiting += 1
            caller.tokens += entry.length
            self.tokens += entry.length
        self._size += len(entries)

    def drop(self, entries: Iterable[Entry[Owner]]) -> None:
        """Forget those of the entries that still wait; that costs their caller nothing."""
        names = set()
        for entry in entries:
            if entry.waiting:
                self._leave(entry)
                names.add(entry.caller)
        for name in names:
            caller = self._callers.get(name)
            if caller and len(caller.entries) > 2 * caller.waiting + DEAD_ENTRIES:
                caller.entries = deque(entry for entry in caller.entries if entry.waiting)
        self._tidy()
        if not self._callers:
            self._time = 0.0

    def lift(self, now: float, most_tokens: float) -> tuple[list[Entry[Owner]], list[Entry[Owner]]]:
        """Lift out the first entries until they have so many tokens, and the expired among them.

        The first still wait until `settle` is called, which must be next. The expired have left.
        """
        window: list[Entry[Owner]] = []
        expired: list[Entry[Owner]] = []
        tokens = 0
        while self._heap and tokens < most_tokens:
            time, ticket, caller = heapq.heappop(self._heap)
            if ticket != caller.ticket:
                continue
            self._lifted.setdefault(caller, ticket)
            turn = self._heap[0][0] if self._heap else inf
            while (entry := self._next(caller, now, expired)) is not None:
                window.append(entry)
                size = max(entry.length, 1)
                tokens += size
                time += size
                if tokens >= most_tokens or time >= turn:
                    break
            caller.ticket = 0
            if caller.entries:
                self._push(caller, time, next(self._tickets))
        return window, expired

    def settle(self, window: Sequence[Entry[Owner]], chosen: Sequence[Entry[Owner]]) -> None:
        """Let the chosen of what was lifted leave, charge their callers, and put the rest back."""
        callers = max(self.callers, 1)
        tokens = 0
        for entry in chosen:
            size = max(entry.length, 1)
            tokens += size
            caller = self._callers[entry.caller]
            caller.time += size
            self._lifted[caller] = 0
            self._leave(entry)
        for entry in reversed(window):
            if entry.waiting:
                self._callers[entry.caller].entries.appendleft(entry)
        self._time += tokens / callers
        for caller, ticket in self._lifted.items():
            if caller.waiting:
                caller.time = min(caller.time, self._time + self._most_ahead)
                # Who was not served keeps its place among those of the same time.
                self._push(caller, caller.time, ticket or next(self._tickets))
        self._lifted.clear()
        self._tidy()
        self._time = max(self._time, self._heap[0][0]) if self._heap else 0.0

    def _next(
        self, caller: _Caller[Owner], now: float, expired: list[Entry[Owner]]
    ) -> Entry[Owner] | None:
        """Remove the oldest entry that is wanted and in time; None where there is none."""
        entries = caller.entries
        while entries:
            entry = entries.popleft()
            if not entry.waiting:
                continue
            if now < entry.deadline:
                return entry
            self._leave(entry)
            expired.append(entry)
        return None

    def _leave(self, entry: Entry[Owner]) -> None:
        entry.waiting = False
        caller = self._callers[entry.caller]
        caller.waiting -= 1
        caller.tokens -= entry.length
        self.tokens -= entry.length
        self._size -= 1
        if not caller.waiting:
            caller.ticket = 0
            del self._callers[entry.caller]

    def _push(self, caller: _Caller[Owner], time: float, ticket: int) -> None:
        """Put a caller's item into the heap; it replaces the one that is there."""
        caller.ticket = ticket
        heapq.heappush(self._heap, (time, ticket, caller))

    def _tidy(self) -> None:
        """Remove outdated items: those at the top, and all where there are many."""
        if len(self._heap) > 2 * len(self._callers) + DEAD_CALLERS:
            self._heap = [item for item in self._heap if item[1] == item[2].ticket]
            heapq.heapify(self._heap)
        while self._heap and self._heap[0][1] != self._heap[0][2].ticket:
            heapq.heappop(self._heap)
