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
from itertools import count
from math import inf
from operator import attrgetter, itemgetter
from typing import Generic

from semserve_server.scheduling.caller_queue import CallerQueue, Entry, Owner

DEAD_ENTRIES = 8
"""Most dropped entries of one caller among its waiting ones before they are removed."""
DEAD_CALLERS = 64
"""Most outdated items in the heap of callers before the heap is rebuilt."""
BULK_TURNS = 4
"""Turns of each caller from which `pop_alike` is cheaper than `pop`."""


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
        self._callers: dict[str, CallerQueue[Owner]] = {}
        self._heap: list[tuple[float, int, CallerQueue[Owner]]] = []
        """Virtual time, ticket and caller, the lowest first. An item is outdated, and is skipped,
        if its ticket is not that of its caller: no item is searched for and removed."""
        self._tickets = count(1)
        self._popped: dict[CallerQueue[Owner], int] = {}
        """Callers of the popped entries, with the tickets that they had; 0 after an entry was
        chosen."""
        self._lengths: tuple[float, float] = (inf, 0)
        """Least and greatest length of an entry since the queue was last empty."""
        self._bulk = 0, 0
        """Tokens that `pop_alike` removed since the latest `commit`, and the callers before."""

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
        shortest, longest = self._lengths if self._size else (inf, 0)
        for entry in entries:
            shortest, longest = min(shortest, entry.length), max(longest, entry.length)
            caller = self._callers.get(entry.caller)
            if caller is None:
                caller = self._callers[entry.caller] = CallerQueue(self._time)
                self._push(caller, caller.time, next(self._tickets))
            entry.waiting = True
            caller.entries.append(entry)
            caller.waiting += 1
            caller.tokens += entry.length
            caller.earliest = min(caller.earliest, entry.deadline)
            self.tokens += entry.length
        self._lengths = shortest, longest
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

    @property
    def common_length(self) -> int:
        """Tokens of every entry since the queue was last empty; 0 if they differ."""
        shortest, longest = self._lengths
        return int(longest) if shortest == longest else 0

    def pop_alike(self, now: float, most: int) -> list[Entry[Owner]]:
        """Remove, charge and return most of the first `most` entries, all of `common_length`.

        They are those that `pop` would yield first, in another order, at a tenth of its work for
        each. None are returned where that is no gain, or where an entry has expired. `pop` may
        follow, and then `commit`.
        """
        length, callers = self.common_length, list(self._callers.values())
        most = min(most, self._size)
        if not length or not callers or most < BULK_TURNS * len(callers):
            return []
        if not all(caller.all_in_time(now) for caller in callers):
            return []
        level = _level(callers, length, most)
        taken: list[Entry[Owner]] = []
        served = []
        for caller in sorted(callers, key=attrgetter("time", "ticket")):
            if turns := caller.turns(length, level):
                self._popped[caller] = 0
                served.append((caller.time + turns * length, turns, caller.ticket, caller))
                taken += caller.take(turns)
                self._release(caller, turns, turns * length)
        # As if they had been served in turns: of equal times, the caller with fewer turns is first.
        for time, _, _, caller in sorted(served, key=itemgetter(0, 1, 2)):
            caller.time = time
            if caller.waiting:
                self._push(caller, time, next(self._tickets))
        self._callers = {name: one for name, one in self._callers.items() if one.waiting}
        self._bulk = len(taken) * length, len(callers)
        return taken

    def commit(self, chosen: Sequence[Entry[Owner]], skipped: Sequence[Entry[Owner]]) -> None:
        """Remove the chosen ones of the popped entries, charge their callers, put the rest back.

        Args:
            chosen: in any order.
            skipped: in the order in which `pop` yielded them.
        """
        tokens, callers = self._bulk
        callers, self._bulk = callers or max(self.callers, 1), (0, 0)
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
        self._release(caller, 1, entry.length)
        if not caller.waiting:
            del self._callers[entry.caller]

    def _release(self, caller: CallerQueue[Owner], entries: int, tokens: int) -> None:
        """Count entries of a caller as gone."""
        caller.waiting -= entries
        caller.tokens -= tokens
        self.tokens -= tokens
        self._size -= entries
        if not caller.waiting:
            caller.ticket = 0

    def _push(self, caller: CallerQueue[Owner], time: float, ticket: int) -> None:
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


def _level(callers: Sequence[CallerQueue[Owner]], length: int, most: int) -> float:
    """Return a virtual time before which at most `most` entries have their turn, and few fewer."""
    low = min(caller.time for caller in callers)
    high = max(caller.time + caller.waiting * length for caller in callers)
    level = low + most // len(callers) * length  # right at once if the callers are alike
    while high - low >= length / 2:
        turns = sum([caller.turns(length, level) for caller in callers])
        if turns > most:
            high = level
        elif most - turns <= len(callers):
            return level
        else:
            low = level
        level = (low + high) / 2
    return low
