"""A queue of entries of many callers that shares the runs fairly among the callers. Pure.

Weighted fair queueing with equal weights. Each caller with queued entries has a virtual time: the
tokens that it would have received if the tokens of all callers were served in turns, one each. The
next entry is the oldest entry of the caller with the lowest virtual time; its tokens are then added
to that virtual time. A new caller starts at the present virtual time of the queue, so it gains
nothing from having been idle and does not wait for what others queued before it. With one caller,
and with callers of one entry each, the order is that of arrival.

The virtual time of the queue is that of WF2Q+ (Bennett and Zhang, "Hierarchical Packet Fair
Queueing Algorithms", 1996): it grows by the tokens that run, divided by the number of waiting
callers, and is never lower than the lowest virtual time of a caller. So it passes the virtual time
of every waiting caller in the end, and no caller starves, however many new callers arrive.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from math import inf
from typing import Generic, TypeVar

from semserve_server.runtime.encoding import Encoding

Owner = TypeVar("Owner")

DEAD_ENTRIES = 8
"""Most dropped entries of one caller among its waiting ones before they are removed."""
DEAD_CALLERS = 64
"""Most outdated items in the heap of callers before the heap is rebuilt."""


@dataclass(slots=True, eq=False)
class Entry(Generic[Owner]):
    """A queued encoding, with its request (the owner) and its index in the request."""

    encoding: Encoding
    length: int
    deadline: float
    """Instant, in seconds of the queue's clock, after which the result is not wanted."""
    owner: Owner
    index: int
    caller: str = ""
    """Name of the caller whose share of the runs the entry uses."""
    waiting: bool = False
    """Whether the entry is in the queue and was not dropped."""


class _Caller(Generic[Owner]):
    """The entries of one caller, the oldest first, and the caller's position in the heap."""

    __slots__ = ("entries", "ticket", "time", "tokens", "waiting")

    def __init__(self, time: float) -> None:
        self.entries: deque[Entry[Owner]] = deque()
        self.waiting = 0
        """Number of entries that were not dropped; `entries` may contain dropped ones too."""
        self.tokens = 0
        self.time = time
        """Virtual time, in tokens."""
        self.ticket = 0
        """Number of the caller's item in the heap; items with other numbers are outdated. 0 for
        none."""


class FairQueue(Generic[Owner]):
    """The queued entries of all callers. Not thread-safe.

    The queue keeps no state for a caller without queued entries. An entry costs O(log callers).
    """

    def __init__(self, *, max_lead: float) -> None:
        """Create an empty queue.

        Args:
            max_lead: tokens. A caller that ran alone can be at most this far behind other callers
                later.
        """
        self.tokens = 0
        """Tokens of all queued entries."""
        self._size = 0
        self._max_lead = max_lead
        self._time = 0.0
        self._callers: dict[str, _Caller[Owner]] = {}
        self._heap: list[tuple[float, int, _Caller[Owner]]] = []
        self._tickets = count(1)
        self._popped: dict[_Caller[Owner], int] = {}
        """Callers of the popped entries, with the tickets that they had; 0 after an entry was
        chosen."""

    def __len__(self) -> int:
        return self._size

    @property
    def callers(self) -> int:
        """Number of callers with queued entries."""
        return len(self._callers)

    @property
    def stored(self) -> int:
        """Number of entries and heap items in memory, dropped ones included."""
        return len(self._heap) + sum(len(one.entries) for one in self._callers.values())

    def load_of(self, caller: str) -> tuple[int, int]:
        """Return the number of queued entries of a caller, and the number of their tokens."""
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
        """Remove those of the entries that are still queued. The caller is not charged for them."""
        names = set()
        for entry in entries:
            if entry.waiting:
                self._remove(entry)
                names.add(entry.caller)
        for name in names:
            caller = self._callers.get(name)
            if caller and len(caller.entries) > 2 * caller.waiting + DEAD_ENTRIES:
                caller.entries = deque(entry for entry in caller.entries if entry.waiting)
        self._compact()
        if not self._callers:
            self._time = 0.0

    def pop(
        self, now: float, most_tokens: float, expired: list[Entry[Owner]]
    ) -> Generator[Entry[Owner]]:
        """Remove and yield the first entries one by one, up to `most_tokens`.

        Close the iterator where no more entries are needed; the work depends on the entries that
        were yielded, and not on the size of the queue. They count as queued until `commit`, which
        must be the next call. Entries that have expired are not yielded and have left the queue.

        Args:
            now: instant, in seconds of the queue's clock.
            most_tokens: the first entry with which this is reached is the last one.
            expired: gets the expired entries that were found on the way.
        """
        heap, tokens = self._heap, 0
        while heap and tokens < most_tokens:
            time, ticket, caller = heapq.heappop(heap)
            if ticket != caller.ticket:
                continue
            self._popped.setdefault(caller, ticket)
            turn = heap[0][0] if heap else inf
            entries = caller.entries
            try:
                while entries:
                    entry = entries.popleft()
                    if not entry.waiting:
                        continue
                    if now >= entry.deadline:
                        self._remove(entry)
                        expired.append(entry)
                        continue
                    size = entry.length or 1
                    tokens += size
                    time += size
                    yield entry
                    if tokens >= most_tokens or time >= turn:
                        break
            finally:
                caller.ticket = 0
                if entries:
                    self._push(caller, time, next(self._tickets))

    def commit(self, chosen: Sequence[Entry[Owner]], skipped: Sequence[Entry[Owner]]) -> None:
        """Remove the chosen ones of the popped entries, charge their callers, put the rest back.

        Args:
            chosen: in any order.
            skipped: in the order in which `pop` yielded them.
        """
        callers = max(self.callers, 1)
        tokens = 0
        for entry in chosen:
            size = entry.length or 1
            tokens += size
            caller = self._callers[entry.caller]
            caller.time += size
            self._popped[caller] = 0
            self._remove(entry)
        for entry in reversed(skipped):
            self._callers[entry.caller].entries.appendleft(entry)
        self._time += tokens / callers
        for caller, ticket in self._popped.items():
            if caller.waiting:
                caller.time = min(caller.time, self._time + self._max_lead)
                # A caller that was not served keeps its position among callers with the same time.
                self._push(caller, caller.time, ticket or next(self._tickets))
        self._popped.clear()
        self._compact()
        self._time = max(self._time, self._heap[0][0]) if self._heap else 0.0

    def _remove(self, entry: Entry[Owner]) -> None:
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
        """Put a caller's item into the heap. It replaces the caller's present item."""
        caller.ticket = ticket
        heapq.heappush(self._heap, (time, ticket, caller))

    def _compact(self) -> None:
        """Remove outdated items: those at the top of the heap, or all if there are many."""
        if len(self._heap) > 2 * len(self._callers) + DEAD_CALLERS:
            self._heap = [item for item in self._heap if item[1] == item[2].ticket]
            heapq.heapify(self._heap)
        while self._heap and self._heap[0][1] != self._heap[0][2].ticket:
            heapq.heappop(self._heap)
