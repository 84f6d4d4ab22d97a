"""What texts will be in tokens: nothing while nothing is known, then what they were of late."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from semserve_server.runtime.token_estimator import TokenEstimator


def test_who_has_read_nothing_expects_nothing() -> None:
    assert 0 == TokenEstimator().tokens(1000)


@given(st.lists(st.tuples(st.integers(1, 10_000), st.integers(1, 512)), min_size=1))
def test_it_lies_between_the_densest_and_the_thinnest(read: list[tuple[int, int]]) -> None:
    estimator = TokenEstimator()
    for characters, tokens in read:
        estimator.observe(characters, tokens)
    seen = [tokens / characters for characters, tokens in read]
    assert 1000 * min(seen) - 1 <= estimator.tokens(1000) <= 1000 * max(seen) + 1


def test_it_follows_when_the_texts_change() -> None:
    estimator = TokenEstimator()
    for _ in range(1000):
        estimator.observe(100, 20)
    for _ in range(1000):
        estimator.observe(100, 80)
    assert 80 == pytest.approx(estimator.tokens(100), abs=1)
