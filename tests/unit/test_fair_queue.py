"""Callers share the runs: in turns by tokens, whatever each has queued, and none starves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from semserve_server.runtime.encoding import Encoding
from semserve_server.scheduling.batch_queue import MIN_MANY_ENTRIES, BatchQueue, Entry
from semserve_server.scheduling.cost_model import CostModel

BUDGET = 64
WINDOW = 8 * BUDGET
LONGEST = 60
NEVER = float("inf")
both_searches = pytest.mark.parametrize("many", [1, MIN_MANY_ENTRIES])
"""With batches that are formed by lengths, and with those that are formed by entries."""


def entry(caller: str, length: int = 8, deadline: float = NEVER) -> Entry[None]:
    return Entry(Encoding([1] * length, [0] * length), length, deadline, None, 0, caller)


def queue_of(
    *entries: Entry[None], padding: float = 0.0, many: int = MIN_MANY_ENTRIES
) -> BatchQueue[None]:
    queue: BatchQueue[None] = BatchQueue(
        max_batch_tokens=BUDGET, cost=CostModel(padding=padding), min_many_entries=many
    )
    queue.put(entries)
    return queue


def callers(entries: Iterable[Entry[None]]) -> list[str]:
    return [one.caller for one in entries]


@both_searches
def test_a_single_text_does_not_wait_for_what_another_has_queued_before_it(many: int) -> None:
    queue = queue_of(*[entry("heavy") for _ in range(1000)], many=many)
    queue.take(0.0)
    queue.put([entry("light")])
    assert "light" in callers(queue.take(0.0).batch)


@both_searches
def test_batches_are_filled_from_all_callers(many: int) -> None:
    queue = queue_of(*[entry("heavy") for _ in range(100)], entry("light"), many=many)
    assert {"heavy": 7, "light": 1} == Counter(callers(queue.take(0.0).batch))
    assert {"heavy": 8} == Counter(callers(queue.take(0.0).batch))


def test_callers_of_one_text_each_run_in_the_order_of_their_arrival() -> None:
    queue = queue_of(*[entry(f"{n}") for n in range(30)])
    order = callers(queue.take(0.0).batch)
    queue.put([entry(f"{n}") for n in range(30, 40)])
    while queue:
        order += callers(queue.take(0.0).batch)
    assert [f"{n}" for n in range(40)] == order


sizes = st.lists(st.integers(1, LONGEST), min_size=60, max_size=90)


@both_searches
@settings(deadline=None, max_examples=40)
@given(st.lists(sizes, min_size=2, max_size=5), st.sampled_from([0.0, 1.0]))
def test_callers_with_much_to_do_get_as_many_tokens_each(
    many: int, backlogs: list[list[int]], padding: float
) -> None:
    names = [f"{place}" for place in range(len(backlogs))]
    entries = [entry(n, s) for n, lengths in zip(names, backlogs, strict=True) for s in lengths]
    queue = queue_of(*entries, padding=padding, many=many)
    served: Counter[str] = Counter(dict.fromkeys(names, 0))
    waiting = Counter(callers(entries))
    while min(waiting.values()):
        for one in queue.take(0.0).batch:
            served[one.caller] += one.length
            waiting[one.caller] -= 1
        if min(waiting.values()):
            assert max(served.values()) - min(served.values()) <= WINDOW + LONGEST


@both_searches
@settings(deadline=None, max_examples=50)
@given(st.integers(1, LONGEST), st.integers(1, 20), st.integers(1, 10))
def test_no_caller_starves_however_many_new_ones_come(
    many: int, length: int, new: int, before: int
) -> None:
    """The queue is kept full of new callers, one text each: it holds 40 of them."""
    last = entry("heavy", length)
    queue = queue_of(*[entry("heavy", length) for _ in range(before)], last, many=many)
    names = count()
    turns = 0
    while last.waiting:
        queue.put([entry(f"{next(names)}") for _ in range(min(new, 40 + before - len(queue)))])
        turns += bool(queue.take(0.0).batch)
        # One token in 50 or so is the caller's, of 8 or more that each turn brings.
        assert turns <= (before + 1) * length * 50 / 8


def test_who_used_what_others_left_is_not_made_to_wait_for_it_later() -> None:
    """Alone for a thousand batches, then beside a flood: served within a window of tokens."""
    queue = queue_of()
    for _ in range(1000):
        queue.put([entry("early") for _ in range(8)])
        queue.take(0.0)
    queue.put([entry("early"), *[entry("late") for _ in range(200)]])
    turns = 0
    while "early" not in callers(queue.take(0.0).batch):
        turns += 1
        assert turns * BUDGET <= WINDOW


@both_searches
@settings(deadline=None)
@given(st.integers(1, 200), st.integers(0, 200))
def test_what_was_dropped_or_expired_costs_its_caller_nothing(
    many: int, dropped: int, expired: int
) -> None:
    gone = [entry("unlucky") for _ in range(dropped)]
    late = [entry("unlucky", deadline=1.0) for _ in range(expired)]
    queue = queue_of(
        *gone, *late, entry("unlucky"), *[entry("other") for _ in range(300)], many=many
    )
    queue.drop(gone)
    taken = queue.take(2.0)
    assert "unlucky" in callers(taken.batch)
    assert late == taken.expired


@both_searches
@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 30)), max_size=60))
def test_nothing_is_kept_of_a_caller_that_has_left(many: int, asked: list[tuple[str, int]]) -> None:
    queue = queue_of(*[entry(caller, length) for caller, length in asked], many=many)
    waiting = Counter(caller for caller, _ in asked)
    while queue:
        for caller in "abcdef":
            backlog = queue.backlog(caller)
            assert waiting[caller] == backlog.caller_load.entries
            assert backlog.other_callers == len(waiting.keys() - {caller})
            assert len(queue) == backlog.entries
        waiting -= Counter(callers(queue.take(0.0).batch))
    assert 0 == queue.stored == queue.backlog("a").other_callers


@both_searches
def test_texts_of_no_tokens_take_turns_too(many: int) -> None:
    queue = queue_of(*[entry("heavy", 0) for _ in range(2000)], entry("light", 0), many=many)
    turns = 1
    while "light" not in callers(queue.take(0.0).batch):
        turns += 1
    assert 1 == turns
