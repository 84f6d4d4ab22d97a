"""The rate of a key: exact in the long run, whatever single requests cost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from semserve_server.auth.rate_limiter import RateLimiter

REQUESTS = st.lists(st.tuples(st.integers(1, 5000), st.floats(0, 3)), min_size=1, max_size=50)


@given(st.integers(1, 1000), REQUESTS)
def test_a_caller_that_waits_as_told_gets_its_rate_and_no_more(
    rate: int, requests: list[tuple[int, float]]
) -> None:
    """Of the tokens, those of the last request and one second's worth may be ahead of the rate."""
    bucket, now, spent = RateLimiter(rate, now=0.0), 0.0, 0
    for tokens, pause in requests:
        now += bucket.wait(now)
        assert 0 == pytest.approx(bucket.wait(now), abs=1e-6)
        assert spent <= rate * (now + 1) + 1e-3
        bucket.spend(tokens, now)
        spent += tokens
        now += pause


def test_a_debt_is_waited_for_and_what_is_given_back_is_not() -> None:
    bucket = RateLimiter(100, now=10.0)
    bucket.spend(350, 10.0)
    assert 2.5 == bucket.wait(10.0)
    assert 1.5 == bucket.wait(11.0)
    bucket.spend(-150, 11.0)
    assert 0 == bucket.wait(11.0)


def test_idling_earns_a_seconds_worth_and_no_more() -> None:
    bucket = RateLimiter(100, now=0.0)
    bucket.spend(200, 1000.0)
    assert 1.0 == bucket.wait(1000.0)
