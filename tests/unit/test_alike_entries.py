"""Many entries of one length are taken from the queue at once, as if they left it one by one."""

from __future__ import annotations

from itertools import count
from math import inf

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from semserve_server.runtime.encoding import Encoding
from semserve_server.scheduling.batch_queue import (
    MAX_WINDOW_TOKENS,
    MIN_MANY_ENTRIES,
    MIN_WINDOW_BATCHES,
    WINDOW_BATCHES,
    BatchQueue,
    Entry,
)
from semserve_server.scheduling.cost_model import CostModel

LENGTH = 8
BATCH = 16
"""Entries of a full batch."""
WINDOW = max(
    min(WINDOW_BATCHES * BATCH * LENGTH, MAX_WINDOW_TOKENS), MIN_WINDOW_BATCHES * BATCH * LENGTH
)


class PlainQueue:
    """The definition: the callers in turns, one entry each, by their virtual times."""

    def __init__(self) -> None:
        self.waiting: dict[str, list[Entry[None]]] = {}
        self.times: dict[str, float] = {}
        self.tickets: dict[str, int] = {}
        self.numbers = count(1)
        self.time = 0.0

    def put(self, entries: list[Entry[None]]) -> None:
        for entry in entries:
            if entry.caller not in self.waiting:
                self.waiting[entry.caller] = []
                self.times[entry.caller] = self.time
                self.tickets[entry.caller] = next(self.numbers)
            self.waiting[entry.caller].append(entry)

    def drop(self, entry: Entry[None]) -> None:
        if entry in self.waiting.get(entry.caller, ()):
            self.remove(entry)
        if not self.waiting:
            self.time = 0.0

    def remove(self, entry: Entry[None]) -> None:
        self.waiting[entry.caller].remove(entry)
        if not self.waiting[entry.caller]:
            del self.waiting[entry.caller]

    def take(self, now: float) -> tuple[list[int], list[int]]:
        """Return the indices of the batch and of the expired entries that were passed."""
        times, tickets = self.times.copy(), self.tickets.copy()
        rest = {caller: [*entries] for caller, entries in self.waiting.items()}
        looked, seen, expired = [], [], []
        while any(rest.values()) and len(looked) <= BATCH and len(looked) * LENGTH < WINDOW:
            caller = min((c for c in rest if rest[c]), key=lambda c: (times[c], tickets[c]))
            if caller not in seen:
                seen.append(caller)
            entry = rest[caller].pop(0)
            if entry.deadline <= now:
                expired.append(entry)
                continue
            looked.append(entry)
            times[caller] += LENGTH
            tickets[caller] = next(self.numbers)
        batch = looked[:BATCH]
        for entry in expired:
            self.remove(entry)
        callers = max(len(self.waiting), 1)
        for entry in batch:
            self.times[entry.caller] += LENGTH
            self.remove(entry)
        self.time += len(batch) * LENGTH / callers
        chosen = {entry.caller for entry in batch}
        for caller in seen:
            self.times[caller] = min(self.times[caller], self.time + WINDOW)
            if caller in chosen:
                self.tickets[caller] = next(self.numbers)
        times_left = [self.times[caller] for caller in self.waiting]
        self.time = max(self.time, min(times_left)) if times_left else 0.0
        return sorted(e.index for e in batch), sorted(e.index for e in expired)


def entry(caller: str, index: int, deadline: float) -> Entry[None]:
    return Entry(Encoding([1] * LENGTH, [0] * LENGTH), LENGTH, deadline, None, index, caller)


callers = st.sampled_from("abcd")
puts = st.tuples(st.just("put"), callers, st.integers(1, 40), st.sampled_from([inf, inf, 3.0, 9.0]))
takes = st.tuples(st.just("take"), st.integers(0, 10))
drops = st.tuples(st.just("drop"), st.integers(0, 200))


@pytest.mark.parametrize("many", [1, MIN_MANY_ENTRIES])
@settings(deadline=None, max_examples=150)
@example([*[("put", caller, 40, inf) for caller in "abc"], *[("take", 0)] * 6], 0.0)
@given(st.lists(puts | takes | drops, min_size=4, max_size=24), st.sampled_from([0.0, 0.3, 1.0]))
def test_entries_taken_at_once_are_those_that_turns_would_take(
    many: int, steps: list[tuple[object, ...]], padding: float
) -> None:
    queue: BatchQueue[None] = BatchQueue(
        max_batch_tokens=BATCH * LENGTH, cost=CostModel(padding=padding), min_many_entries=many
    )
    plain = PlainQueue()
    entries: list[Entry[None]] = []
    now = 0.0
    for kind, *how in steps:
        if kind == "put":
            caller, size, deadline = how
            new = [entry(caller, len(entries) + n, deadline) for n in range(size)]
            entries += new
            queue.put(new)
            plain.put(new)
        elif kind == "drop" and entries:
            dropped = entries[how[0] % len(entries)]
            queue.drop([dropped])
            plain.drop(dropped)
        elif kind == "take":
            now = max(now, float(how[0]))
            taken = queue.take(now)
            for one in taken.expired:  # all, or those that were passed on the way
                assert one.deadline <= now
                plain.remove(one)
            assert plain.take(now) == (sorted(e.index for e in taken.batch), [])
            assert len(taken.batch) * LENGTH == taken.effective_tokens
        assert sum(map(len, plain.waiting.values())) == len(queue)
        assert LENGTH * len(queue) == queue.tokens
