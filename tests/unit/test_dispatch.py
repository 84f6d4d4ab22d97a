"""When a run begins beside others: never later than it pays, and never not at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from semserve_server.scheduling.cost_model import CostModel
from semserve_server.scheduling.dispatch import LONGEST_DELAY_SECONDS, MIN_BATCH_FILL, Dispatch

BUDGET = 256


def runs(*, exclusive: bool = True) -> Dispatch:
    return Dispatch(
        cost=CostModel(fixed=0.002, per_token=0.0001), max_batch_tokens=BUDGET, exclusive=exclusive
    )


def test_where_nothing_goes_on_nobody_waits() -> None:
    assert 0 == runs().wait_seconds(1, 0.0)


def test_little_waits_for_a_run_that_ends_soon_and_not_for_a_long_one() -> None:
    short = runs()
    short.begin("worker", 10, now=5.0)  # ends at 5.003
    assert 0.0031 + 0.003 == pytest.approx(short.wait_seconds(11, 5.0))
    long = runs()
    long.begin("worker", 100, now=5.0)  # ends at 5.012
    assert 0 == long.wait_seconds(10, 5.0)
    assert 0 < long.wait_seconds(10, 5.010)


def test_of_several_runs_the_last_to_end_is_awaited() -> None:
    some = runs()
    some.begin("short", 10, now=0.0)
    some.begin("long", 100, now=0.0)
    assert 0 == some.wait_seconds(10, 0.0)
    some.end("long")
    assert 0 < some.wait_seconds(11, 0.0)
    some.end("short")
    assert 0 == some.wait_seconds(10, 0.0)


def test_who_has_no_more_threads_alone_waits_for_nobody() -> None:
    shared = runs(exclusive=False)
    shared.begin("worker", 10, now=0.0)
    assert 0 == shared.wait_seconds(10, 0.0)


def test_several_cheap_requests_wait_for_more_until_they_fill_a_batch() -> None:
    cheap = Dispatch(
        cost=CostModel(fixed=0.0001, per_token=0.0), max_batch_tokens=BUDGET, exclusive=False
    )
    assert cheap.should_delay(3, BUDGET - 1)
    assert not cheap.should_delay(2, 1)
    assert not cheap.should_delay(3, BUDGET)
    assert not runs().should_delay(3, 1)  # takes over 2 ms


@given(
    begun=st.integers(1, 2 * BUDGET), waiting=st.integers(1, 2 * BUDGET), later=st.floats(0, 0.1)
)
def test_nobody_waits_for_more_than_twice_its_own_run(
    begun: int, waiting: int, later: float
) -> None:
    some = runs()
    some.begin("worker", begun, now=0.0)
    patience = some.wait_seconds(waiting, later)
    own = 0.002 + 0.0001 * waiting
    assert 0 <= patience <= 2 * own
    if waiting >= MIN_BATCH_FILL * BUDGET:
        assert not patience
    # Who has waited for as long as it was told begins, though the run goes on.
    assert not patience or some.wait_seconds(waiting, later + patience + 1e-9) == 0


def test_no_run_waits_for_more_requests_for_long() -> None:
    cheap = Dispatch(
        cost=CostModel(fixed=0.0001, per_token=0.0), max_batch_tokens=BUDGET, exclusive=False
    )
    assert cheap.should_delay(3, 1, LONGEST_DELAY_SECONDS / 2)
    assert not cheap.should_delay(3, 1, LONGEST_DELAY_SECONDS)
