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
from collections.abc import Generator, Iterable, Sequence
from itertools import count
from math import inf
from typing import Generic

from semserve_server.scheduling.caller_queue import CallerQueue, Entry, Owner
from semserve_server.scheduling.selection.window import IntArray, Window

DEAD_ENTRIES = 8
"""Most dropped entries of one caller among its waiting ones before they are removed."""
DEAD_CALLERS = 64
"""Most outdated items in the heap of callers before the heap is rebuilt."""


class FairQueue(Generic[Owner]):
    """The queued entries of all callers. Not thread-safe.

    The queue keeps no state for a caller without queued entries. Entries leave it in two ways: a
    few with `pop` and `commit`, at O(log callers) each, or many at once with `window` and `serve`,
    at a few operations on arrays.
    """

    def __init__(self, *, max_lead: float) -> None:
        """Create an empty queue.

        Args:
            max_lead: tokens. A caller that ran alone can be at most this far behind other callers
                later.
        """
        self.tokens = 0
        """Tokens of all queued entries. An entry of no tokens counts as one, here and below."""
        self._size = 0
        self._max_lead = max_lead
        self._time = 0.0
        self._callers: dict[str, CallerQueue[Owner]] = {}
        self._heap: list[tuple[float, int, CallerQueue[Owner]]] = []
        """Virtual time, ticket and caller, the lowest first. An item is outdated, and is skipped,
        if its ticket is not that of its caller: no item is searched for and removed."""
        self._tickets = count(1)
        self._popped: dict[CallerQueue[Owner], int] = {}
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
                caller = self._callers[entry.caller] = CallerQueue(self._time)
                self._push(caller, next(self._tickets))
            caller.append(entry)
            self.tokens += entry.length or 1
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
                caller.compact(len(caller.entries))
        self._compact()
        if not self._callers:
            self._time = 0.0

    def pop(
        self, now: float, most_tokens: float, expired: list[Entry[Owner]]
    ) -> Generator[Entry[Owner]]:
        """Yield the first entries one by one, up to `most_tokens`.

        Close the iterator where no more entries are needed; the work depends on the entries that
        were yielded, and not on the size of the queue. `commit` must be the next call. Entries that
        have expired are not yielded and leave the queue.

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
            entries, place, size = caller.entries, caller.popped, len(caller.entries)
            try:
                while place < size:
                    entry = entries[place]
                    place += 1
                    if not entry.waiting:
                        continue
                    if now >= entry.deadline:
                        self._remove(entry)
                        expired.append(entry)
                        continue
                    cost = entry.length or 1
                    tokens += cost
                    time += cost
                    yield entry
                    if tokens >= most_tokens or time >= turn:
                        break
            finally:
                caller.popped = place
                caller.ticket = 0
                if place < size:
                    caller.ticket = ticket = next(self._tickets)
                    heapq.heappush(heap, (time, ticket, caller))

    def commit(self, chosen: Sequence[Entry[Owner]]) -> None:
        """Remove the chosen ones of the popped entries, and charge their callers for them.

        The other entries keep their places.
        """
        tokens, callers = 0, self.callers
        for entry in chosen:
            cost = entry.length or 1
            tokens += cost
            caller = self._callers[entry.caller]
            caller.time += cost
            self._popped[caller] = 0
            self._remove(entry)
        self._time += tokens / max(callers, 1)
        latest = self._time + self._max_lead
        for caller, ticket in self._popped.items():
            if caller.waiting:
                caller.compact(caller.popped)
                caller.time = min(caller.time, latest)
                # A caller that was not served keeps its position among callers with the same time.
                self._push(caller, ticket or next(self._tickets))
        self._popped.clear()
        self._compact()
        self._time = max(self._time, self._heap[0][0]) if self._heap else 0.0

    def window(
        self, now: float, most_tokens: float, expired: list[Entry[Owner]]
    ) -> Window[Owner] | None:
        """Return the first entries that `pop` would yield, as arrays; None if there are none.

        `serve` must be the next call. Every expired entry leaves the queue.
        """
        for caller in [*self._callers.values()]:
            if caller.earliest <= now:
                late = caller.expired(now)
                for entry in late:
                    self._remove(entry)
                expired += late
            if len(caller.entries) > caller.waiting:
                caller.compact(len(caller.entries))
        return Window([*self._callers.values()], most_tokens) if self._callers else None

    def serve(self, window: Window[Owner], chosen: IntArray) -> list[Entry[Owner]]:
        """Remove and return entries of the window, and charge their callers for them.

        Args:
            window: that of the latest call of `window`.
            chosen: as in `Window.split`.
        """
        taken: list[Entry[Owner]] = []
        served, before = [], self.tokens
        for caller, flags, tokens in window.split(chosen):
            if tokens:
                served.append((caller.time, caller.ticket, caller))
                taken += caller.take(flags, tokens)
                self.tokens -= tokens
        self._size -= len(taken)
        self._time += (before - self.tokens) / len(self._callers)
        latest = self._time + self._max_lead
        for _, _, caller in sorted(served):  # in the order of their first turns, as `pop` does
            caller.time = min(caller.time, latest)
            caller.ticket = next(self._tickets)
        self._callers = {name: one for name, one in self._callers.items() if one.waiting}
        self._heap = [(one.time, one.ticket, one) for one in self._callers.values()]
        heapq.heapify(self._heap)
        self._time = max(self._time, self._heap[0][0]) if self._heap else 0.0
        return taken

    def _remove(self, entry: Entry[Owner]) -> None:
        entry.waiting = False
        caller = self._callers[entry.caller]
        tokens = entry.length or 1
        caller.waiting -= 1
        caller.tokens -= tokens
        self.tokens -= tokens
        self._size -= 1
        if not caller.waiting:
            caller.ticket = 0
            del self._callers[entry.caller]

    def _push(self, caller: CallerQueue[Owner], ticket: int) -> None:
        """Put a caller's item into the heap. It replaces the caller's present item."""
        caller.ticket = ticket
        heapq.heappush(self._heap, (caller.time, ticket, caller))

    def _compact(self) -> None:
        """Remove outdated items: those at the top of the heap, or all if there are many."""
        if len(self._heap) > 2 * len(self._callers) + DEAD_CALLERS:
            self._heap = [item for item in self._heap if item[1] == item[2].ticket]
            heapq.heapify(self._heap)
        while self._heap and self._heap[0][1] != self._heap[0][2].ticket:
            heapq.heappop(self._heap)
