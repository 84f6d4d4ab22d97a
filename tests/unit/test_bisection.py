"""Halving: the entries that fail a run are told from their neighbours, in so many runs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from fakes import Failing, Lengths, Poisoned
from hypothesis import given
from hypothesis import strategies as st
from semserve_server.runtime.encoding import Encoding
from semserve_server.scheduling.bisection import MAX_ISOLATED, run_batch

BATCH = 33


def batch(size: int) -> list[Encoding]:
    return [Encoding([place] * 3, [0] * 3) for place in range(size)]


@given(
    st.integers(1, 70),
    st.sets(st.integers(0, 69), max_size=MAX_ISOLATED),
    st.sets(st.integers(0, 69)),
)
def test_only_the_poisoned_fail(size: int, raises: set[int], breaks: set[int]) -> None:
    """Those that raise, as many as are surely found, and any number whose rows are not finite."""
    runner = Poisoned(Lengths(), raises=raises, breaks=breaks)
    result = run_batch(runner.run, batch(size))
    poisoned = {place for place in range(size) if place in raises | breaks}
    assert poisoned == set(result.failures)
    for place in set(range(size)) - poisoned:
        assert [place, 3] == result.rows[place].tolist()
    assert runner.runs <= 1 + 2 * MAX_ISOLATED * math.ceil(math.log2(size))


def test_one_failing_entry_costs_two_runs_a_level() -> None:
    runner = Poisoned(Lengths(), raises={5})
    assert [5] == list(run_batch(runner.run, batch(64)).failures)
    assert 1 + 2 * 6 == runner.runs


def test_a_batch_that_fails_for_a_reason_of_its_own_ends() -> None:
    """No memory, say, or a device that is gone: every entry fails, and the runs are bounded."""
    runner = Poisoned(Lengths(), raises=range(BATCH))
    result = run_batch(runner.run, batch(BATCH))
    assert result.rows is None
    assert set(range(BATCH)) == set(result.failures)
    assert runner.runs <= 1 + 2 * MAX_ISOLATED * 6


def test_a_lone_entry_is_not_run_twice() -> None:
    runner = Poisoned(Failing())
    result = run_batch(runner.run, batch(1))
    assert isinstance(result.failures[0], RuntimeError)
    assert 1 == runner.runs


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_row_with_a_number_that_is_none_fails_alone(value: float) -> None:
    def run(encodings: list[Encoding]) -> np.ndarray:
        rows = Lengths().run(encodings)
        rows[1, 0] = value
        return rows

    result = run_batch(run, batch(3))
    assert [1] == list(result.failures)
    assert [[0, 3], [2, 3]] == result.rows[[0, 2]].tolist()
