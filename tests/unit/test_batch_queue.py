"""The policy of the queue, without a clock or a loop."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from semserve_server.runtime.encoding import Encoding
from semserve_server.scheduling.batch_queue import (
    MIN_MANY_ENTRIES,
    WINDOW_BATCHES,
    BatchQueue,
    Entry,
)
from semserve_server.scheduling.cost_model import CostModel
from semserve_server.scheduling.fair_queue import FairQueue
from semserve_server.scheduling.selection.limits import (
    COARSE_STEP,
    FINE_STEP,
    HANDOVER_SECONDS,
    LONG_QUEUE_BATCHES,
    MAX_PADDED_FACTOR,
    MAX_TIME_FACTOR,
)

BUDGET = 100
NEVER = float("inf")


def entry(length: int, deadline: float = NEVER, index: int = 0, caller: str = "") -> Entry[None]:
    encoding = Encoding([1] * length, [0] * length)
    return Entry(encoding, length, deadline, None, index, caller)


def queue_of(
    *entries: Entry[None], budget: int = BUDGET, padding: float = 1.0, many: int = MIN_MANY_ENTRIES
) -> BatchQueue[None]:
    queue: BatchQueue[None] = BatchQueue(
        max_batch_tokens=budget, cost=CostModel(padding=padding), min_many_entries=many
    )
    queue.put(entries)
    return queue


both_searches = pytest.mark.parametrize("many", [1, MIN_MANY_ENTRIES])
"""With batches that are formed by lengths, and with those that are formed by entries."""
lengths = st.lists(st.integers(1, 150), min_size=1, max_size=200)


@both_searches
@given(lengths)
def test_each_entry_leaves_exactly_once(many: int, sizes: list[int]) -> None:
    entries = [entry(size) for size in sizes]
    queue = queue_of(*entries, many=many)
    left = []
    while queue:
        left += queue.take(0.0).batch
    assert sorted(map(id, entries)) == sorted(map(id, left))


@both_searches
@given(lengths, st.floats(0, 1))
def test_a_batch_of_several_is_within_the_budget(
    many: int, sizes: list[int], padding: float
) -> None:
    queue = queue_of(*map(entry, sizes), padding=padding, many=many)
    while queue:
        taken = queue.take(0.0)
        tokens = sum(one.length for one in taken.batch)
        padded = len(taken.batch) * max(one.length for one in taken.batch)
        assert taken.effective_tokens == round(tokens + padding * (padded - tokens))
        assert len(taken.batch) == 1 or (taken.effective_tokens <= BUDGET and padded <= 4 * BUDGET)


def test_where_padding_costs_as_much_as_text_like_lengths_run_together() -> None:
    queue = queue_of(*map(entry, [10, 25, 24, 11, 10, 26]))
    assert [10, 10, 11] == sorted(one.length for one in queue.take(0.0).batch)


def test_a_short_text_does_not_wait_for_the_run_of_a_long_one() -> None:
    queue = queue_of(entry(2), entry(90), entry(3), padding=0.0)
    assert [2, 3] == [one.length for one in queue.take(0.0).batch]
    assert [90] == [one.length for one in queue.take(0.0).batch]


def test_where_padding_costs_nothing_who_comes_first_runs_first() -> None:
    queue = queue_of(*map(entry, [20, 25, 24, 11, 10, 26]), padding=0.0)
    assert [20, 25, 24, 11, 10] == [one.length for one in queue.take(0.0).batch]


@both_searches
@given(lengths)
def test_the_oldest_entry_is_always_in_the_next_batch(many: int, sizes: list[int]) -> None:
    entries = [entry(size, index=place) for place, size in enumerate(sizes)]
    queue = queue_of(*entries, many=many)
    left: set[int] = set()
    while queue:
        oldest = next(place for place in range(len(sizes)) if place not in left)
        batch = {one.index for one in queue.take(0.0).batch}
        assert oldest in batch
        left |= batch


@settings(deadline=None, max_examples=50)
@given(lengths, st.lists(st.sampled_from("abc"), min_size=200, max_size=200))
def test_what_stays_behind_keeps_its_order(sizes: list[int], callers: list[str]) -> None:
    """Batches of one, so that nothing but the order decides."""
    entries = [entry(s, index=n, caller=callers[n]) for n, s in enumerate(sizes)]
    queue = queue_of(*entries, budget=1)
    left = [queue.take(0.0).batch[0] for _ in range(len(sizes))]
    assert not queue
    for caller in "abc":
        own = [one.index for one in left if one.caller == caller]
        assert sorted(own) == own


fates = st.lists(st.tuples(st.integers(1, 60), st.sampled_from(["alive", "gone", "late"])))


@both_searches
@given(fates)
def test_dropped_and_expired_entries_never_run_and_the_expired_are_reported(
    many: int,
    fates: list[tuple[int, str]],
) -> None:
    entries = [entry(size, 5.0 if fate == "late" else NEVER) for size, fate in fates]
    queue = queue_of(*entries, many=many)
    queue.drop(one for one, (_, fate) in zip(entries, fates, strict=True) if fate == "gone")
    ran, expired = [], []
    while queue:
        taken = queue.take(5.0)
        ran += taken.batch
        expired += taken.expired
    for fate, found in (("alive", ran), ("late", expired)):
        expected = [one for one, (_, its) in zip(entries, fates, strict=True) if its == fate]
        assert sorted(map(id, expected)) == sorted(map(id, found))


@both_searches
@given(fates)
def test_only_who_still_waits_is_counted(many: int, fates: list[tuple[int, str]]) -> None:
    entries = [entry(size, 5.0 if fate == "late" else NEVER) for size, fate in fates]
    queue = queue_of(*entries, many=many)
    gone = [one for one, (_, fate) in zip(entries, fates, strict=True) if fate == "gone"]
    queue.drop(gone)
    queue.drop(gone)
    while queue:
        waiting = [one for one in entries if one.waiting]
        assert (len(waiting), sum(one.length for one in waiting)) == (len(queue), queue.tokens)
        queue.take(5.0)
    assert (0, 0) == (len(queue), queue.tokens)


def test_a_storm_of_cancels_leaves_nothing_behind() -> None:
    queue = queue_of(entry(10))
    for number in range(1000):
        cancelled = [entry(5, caller=f"{number % 3 * number}") for _ in range(10)]
        queue.put(cancelled)
        queue.drop(cancelled)
        assert queue.stored < 150
    assert [10] == [one.length for one in queue.take(0.0).batch]
    assert 0 == len(queue) == queue.stored


def test_neighbours_in_length_ride_together() -> None:
    queue = queue_of(*[entry(size) for size in (10, 50, 11, 49, 12, 9)], budget=48)
    assert [9, 10, 11, 12] == sorted(one.length for one in queue.take(0.0).batch)


SIZES = [14, 20, 13, 8, 15, 21, 16, 7]


def test_where_padding_costs_little_entries_run_in_their_order() -> None:
    queue = queue_of(*map(entry, SIZES), budget=60, padding=0.05)
    assert [14, 20, 13, 8] == [one.length for one in queue.take(0.0).batch]


def test_in_a_long_queue_like_lengths_run_together_even_so() -> None:
    queue = queue_of(*map(entry, SIZES * 5), budget=60, padding=0.05)
    assert [14, 13, 15, 16] == [one.length for one in queue.take(0.0).batch]


def test_an_entry_over_the_budget_runs_alone() -> None:
    queue = queue_of(entry(500), entry(500), entry(1))
    assert [500] == [one.length for one in queue.take(0.0).batch]


def test_the_queue_tells_its_state() -> None:
    assert "<BatchQueue 1 entries, batches of 100 tokens>" == repr(queue_of(entry(1)))


def test_a_batch_ends_where_padding_would_eat_the_gain() -> None:
    queue = queue_of(*[entry(size) for size in (10, 10, 11, 60)], budget=1000)
    assert [10, 10, 11] == sorted(one.length for one in queue.take(0.0).batch)


def test_where_a_run_costs_the_same_whatever_its_size_all_that_fits_rides_along() -> None:
    flat = CostModel.fit([(tokens, 0.005) for tokens in (32, 64, 128, 256)])
    queue: BatchQueue[None] = BatchQueue(max_batch_tokens=1000, cost=flat)
    queue.put([entry(size) for size in (10, 60, 20, 40)])
    assert [10, 20, 40, 60] == sorted(one.length for one in queue.take(0.0).batch)


def whole_search(window: list[Entry[None]], cost: CostModel, step: float) -> list[Entry[None]]:
    """Choose as the queue's policy says, by a search that tries every entry of the window."""
    padding = cost.padding / step

    def seconds(tokens: int, padded_tokens: int) -> float:
        computed = cost.effective_tokens(tokens, padded_tokens)
        if computed > BUDGET or padded_tokens > MAX_PADDED_FACTOR * BUDGET:
            return inf
        return HANDOVER_SECONDS + cost.seconds(computed)

    first = window[0]
    batch = [first]
    for entry in sorted(window[1:], key=lambda e: int(padding * abs(e.length - first.length))):
        tokens, longest = sum(e.length for e in batch), max(e.length for e in batch)
        before = seconds(tokens, longest * len(batch))
        after = seconds(tokens + entry.length, max(longest, entry.length) * (len(batch) + 1))
        faster = (tokens + entry.length) * before >= tokens * after
        if tokens + entry.length <= BUDGET and faster and after <= MAX_TIME_FACTOR * before < inf:
            batch.append(entry)
    return batch


@given(
    st.lists(st.tuples(st.integers(1, 120), st.sampled_from("abc")), min_size=1, max_size=60),
    st.sampled_from([0.0, 0.05, 0.3, 1.0]),
    st.sampled_from([0.0001, 0.001, 0.01]),
)
def test_a_search_that_ends_early_chooses_what_a_whole_search_does(
    asked: list[tuple[int, str]], padding: float, fixed: float
) -> None:
    """It misses at most entries that are shorter than each of the batch, for the last tokens."""
    entries = [entry(size, index=n, caller=caller) for n, (size, caller) in enumerate(asked)]
    twins = [entry(size, index=n, caller=caller) for n, (size, caller) in enumerate(asked)]
    cost = CostModel(fixed=fixed, padding=padding)
    in_turns: FairQueue[None] = FairQueue(max_lead=inf)
    in_turns.put(twins)
    window = list(in_turns.pop(0.0, WINDOW_BATCHES * BUDGET, []))
    long = sum(size for size, _ in asked) >= LONG_QUEUE_BATCHES * BUDGET
    expected = [one.index for one in whole_search(window, cost, FINE_STEP if long else COARSE_STEP)]
    queue: BatchQueue[None] = BatchQueue(max_batch_tokens=BUDGET, cost=cost)
    queue.put(entries)
    batch = queue.take(0.0).batch
    assert expected[: len(batch)] == [one.index for one in batch]
    shortest = min(one.length for one in batch)
    assert all(entries[n].length < shortest for n in expected[len(batch) :])


def test_a_full_batch_ends_the_search() -> None:
    """What is queued behind a full batch is not looked at, so that it may be much."""
    looked_at: list[int] = []

    class Watched(Entry[None]):
        @property
        def deadline(self) -> float:
            looked_at.append(self.index)
            return NEVER

        @deadline.setter
        def deadline(self, _instant: float) -> None: ...

    queue = queue_of(
        *[
            Watched(Encoding([1] * size, [0] * size), size, NEVER, None, n)
            for n, size in enumerate((9, 11) * 35)
        ],
        padding=0.0,
    )
    looked_at.clear()
    assert 10 == len(queue.take(0.0).batch)
    assert [*range(11)] == looked_at
