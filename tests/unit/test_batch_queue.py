"""The policy of the queue, without a clock or a loop."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st
from semserve_server.batch_queue import BatchQueue, Entry
from semserve_server.encoding import Encoding

BUDGET = 100
NEVER = float("inf")


@dataclass
class Owner:
    deadline: float = NEVER
    gone: bool = False


def entry(length: int, owner: Owner | None = None, index: int = 0) -> Entry:
    return Entry(Encoding([1] * length, [0] * length), length, owner or Owner(), index)


def queue_of(*entries: Entry, budget: int = BUDGET) -> BatchQueue:
    queue = BatchQueue(max_batch_tokens=budget)
    queue.put(entries)
    return queue


lengths = st.lists(st.integers(1, 150), min_size=1, max_size=200)


@given(lengths)
def test_each_entry_leaves_exactly_once(sizes: list[int]) -> None:
    entries = [entry(size) for size in sizes]
    queue = queue_of(*entries)
    left = []
    while queue:
        left += queue.take(0.0).batch
    assert sorted(map(id, entries)) == sorted(map(id, left))


@given(lengths)
def test_a_batch_of_several_is_within_the_budget(sizes: list[int]) -> None:
    queue = queue_of(*map(entry, sizes))
    while queue:
        batch = queue.take(0.0).batch
        assert len(batch) == 1 or len(batch) * max(one.length for one in batch) <= BUDGET


@given(lengths)
def test_the_oldest_entry_is_always_in_the_next_batch(sizes: list[int]) -> None:
    entries = [entry(size, index=place) for place, size in enumerate(sizes)]
    queue = queue_of(*entries)
    left: set[int] = set()
    while queue:
        oldest = next(place for place in range(len(sizes)) if place not in left)
        batch = {one.index for one in queue.take(0.0).batch}
        assert oldest in batch
        left |= batch


@given(lengths)
def test_what_stays_behind_keeps_its_order(sizes: list[int]) -> None:
    queue = queue_of(*[entry(size, index=place) for place, size in enumerate(sizes)])
    queue.take(0.0)
    waiting = [one.index for one in queue._waiting]
    assert sorted(waiting) == waiting


@given(
    st.lists(st.tuples(st.integers(1, 60), st.sampled_from(["alive", "gone", "late"])), min_size=1)
)
def test_the_dead_are_told_apart_and_never_run(fates: list[tuple[int, str]]) -> None:
    owners = {"alive": Owner(), "gone": Owner(gone=True), "late": Owner(deadline=5.0)}
    queue = queue_of(*[entry(size, owners[fate]) for size, fate in fates])
    seen = {"alive": 0, "gone": 0, "late": 0}
    while queue:
        taken = queue.take(5.0)
        assert all(one.owner is owners["alive"] for one in taken.batch)
        seen["alive"] += len(taken.batch)
        seen["gone"] += len(taken.abandoned)
        seen["late"] += len(taken.expired)
    assert {fate: sum(one == fate for _, one in fates) for fate in seen} == seen


@given(lengths)
def test_the_waiting_tokens_are_counted(sizes: list[int]) -> None:
    owners = [Owner(gone=size % 3 == 0) for size in sizes]
    queue = queue_of(*map(entry, sizes, owners))
    while queue:
        assert sum(one.length for one in queue._waiting) == queue.tokens
        queue.take(0.0)
    assert 0 == queue.tokens


def test_neighbours_in_length_ride_together() -> None:
    queue = queue_of(*[entry(size) for size in (10, 50, 11, 49, 12, 9)], budget=48)
    assert [9, 10, 11, 12] == sorted(one.length for one in queue.take(0.0).batch)


def test_an_entry_over_the_budget_runs_alone() -> None:
    queue = queue_of(entry(500), entry(500), entry(1))
    assert [500] == [one.length for one in queue.take(0.0).batch]


def test_the_queue_tells_its_state() -> None:
    assert "<BatchQueue 1 entries, batches of 100 tokens>" == repr(queue_of(entry(1)))
