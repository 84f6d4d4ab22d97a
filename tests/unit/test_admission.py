"""The admission: what fits and can be in time enters, the rest is told when to return."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from semserve_server.errors import InvalidRequest, Overloaded
from semserve_server.scheduling.admission import NO_LOAD, Admission, Backlog, QueueLoad
from semserve_server.scheduling.cost_model import CostModel

FOREVER = float("inf")


def admission(workers: int = 1) -> Admission:
    """One millisecond a token, batches of 100, at most 50 entries or 3,000 tokens waiting."""
    cost = CostModel(fixed=0.0, per_token=0.001)
    return Admission(
        cost=cost, workers=workers, max_batch_tokens=100, max_entries=50, max_tokens=3000
    )


@given(st.integers(1, 60), st.integers(0, 60))
def test_a_request_is_admitted_only_where_all_of_it_fits(new: int, waiting: int) -> None:
    ask = (QueueLoad(new, new * 10), Backlog(waiting, waiting * 10), 0, FOREVER)
    if new > 50:
        with pytest.raises(InvalidRequest, match=f"{new} texts, and the queue holds at most 50"):
            admission().check(*ask)
    elif new + waiting <= 50:
        admission().check(*ask)
    else:
        with pytest.raises(Overloaded, match=f"holds {waiting} of at most 50"):
            admission().check(*ask)


@given(st.integers(1, 5000), st.integers(0, 5000))
def test_tokens_that_wait_are_bounded_but_for_a_request_alone(new: int, waiting: int) -> None:
    ask = (QueueLoad(1, new), Backlog(min(waiting, 1), waiting), 0, FOREVER)
    if not waiting or new + waiting <= 3000:
        admission().check(*ask)
    else:
        with pytest.raises(Overloaded, match=f"holds {waiting} of at most 3000 tokens"):
            admission().check(*ask)


@pytest.mark.parametrize(("workers", "seconds", "fits"), [
    (1, 2.10, True), (1, 2.05, False), (2, 1.10, True), (2, 1.05, False),
])  # fmt: skip
def test_what_cannot_be_in_time_is_refused(workers: int, seconds: float, *, fits: bool) -> None:
    """Before the 50 tokens that ask are 500 running and 500 waiting: the wait counts twice."""
    ask = (QueueLoad(1, 50), Backlog(10, 500), 500, seconds)
    if fits:
        admission(workers).check(*ask)
    else:
        with pytest.raises(Overloaded, match="the deadline is in"):
            admission(workers).check(*ask)


def test_an_idle_machine_always_tries() -> None:
    admission().check(QueueLoad(1, 10_000), Backlog(0, 0), 0, 0.001)


def test_whoever_is_refused_is_told_how_late_the_answer_would_be() -> None:
    """2,000 tokens wait and 50 ask: 4 s and 0.06, where the deadline leaves 3 s."""
    with pytest.raises(Overloaded) as refusal:
        admission().check(QueueLoad(1, 50), Backlog(40, 2000), 0, 3.0)
    assert 1.06 == pytest.approx(refusal.value.retry_after)


@pytest.mark.parametrize(("others", "seconds", "fits"), [
    (1, 0.3, True), (1, 0.15, False), (4, 0.6, True), (40, 3.0, False),
])  # fmt: skip
def test_a_caller_waits_for_its_turn_and_not_for_all_that_another_has_queued(
    others: int, seconds: float, *, fits: bool
) -> None:
    """2,000 tokens wait, 2 s of runs; each other caller has at most 50 of them before these 50."""
    ask = (
        QueueLoad(1, 50),
        Backlog(40, 2000, caller_load=NO_LOAD, other_callers=others),
        0,
        seconds,
    )
    if fits:
        admission().check(*ask)
    else:
        with pytest.raises(Overloaded, match="the deadline is in"):
            admission().check(*ask)


counts = st.lists(st.integers(1, 2000), max_size=6)


@given(counts, st.integers(0, 500), st.integers(1, 500))
def test_no_more_is_predicted_to_run_before_a_request_than_can(
    others: list[int], own: int, new: int
) -> None:
    """At least what turns by tokens give the others, at most all that is queued."""
    backlog = Backlog(
        50, sum(others) + own, caller_load=QueueLoad(bool(own), own), other_callers=len(others)
    )
    in_turns = own + sum(min(one, own + new) for one in others)
    assert in_turns <= backlog.ahead(new) <= sum(others) + own


@given(st.integers(1, 10), st.integers(2, 60))
def test_no_caller_with_many_requests_fills_the_queue_for_the_others(
    entries: int, tokens: int
) -> None:
    """One caller asks until it is refused; another still finds room for a text."""
    room, waiting = admission(), Backlog(0, 0, caller_load=NO_LOAD, other_callers=0)
    new = QueueLoad(entries, entries * tokens)
    with contextlib.suppress(Overloaded):
        while True:
            room.check(new, waiting, 0, FOREVER)
            own = QueueLoad(waiting.entries + entries, waiting.tokens + new.tokens)
            waiting = Backlog(own.entries, own.tokens, caller_load=own, other_callers=0)
    assert 50 * 8 / 9 - entries <= waiting.entries or 3000 * 8 / 9 - new.tokens <= waiting.tokens
    if new.entries < 6 and new.tokens < 300:
        light = Backlog(waiting.entries, waiting.tokens, caller_load=NO_LOAD, other_callers=1)
        room.check(QueueLoad(1, 10), light, 0, FOREVER)
