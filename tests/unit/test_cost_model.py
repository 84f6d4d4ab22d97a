"""The cost model: a line through the runs that it has seen, the last ones above all."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite

import pytest
from hypothesis import given
from hypothesis import strategies as st
from semserve_server.scheduling.cost_model import CostModel

sizes = st.lists(st.integers(1, 4096), min_size=2, max_size=60).filter(lambda s: len(set(s)) > 1)


@given(sizes, st.floats(1e-5, 1e-2), st.floats(1e-6, 1e-3))
def test_runs_on_a_line_teach_the_line(tokens: list[int], fixed: float, per_token: float) -> None:
    spread = max(tokens) - min(tokens)
    model = CostModel.fit((size, fixed + per_token * size) for size in [*tokens, 1, 4096])
    assert spread > 0
    assert model.fixed == pytest.approx(fixed, rel=1e-3, abs=1e-7)
    assert model.per_token == pytest.approx(per_token, rel=1e-3)


@given(st.lists(st.tuples(st.integers(1, 4096), st.floats(0, 10)), min_size=1, max_size=100))
def test_no_noise_makes_a_cost_negative(runs: list[tuple[int, float]]) -> None:
    model = CostModel.fit(runs)
    assert model.per_token >= 0
    assert model.fixed >= -1e-9
    assert model.seconds(100) >= -1e-9


def test_runs_of_one_size_are_predicted_as_they_were() -> None:
    model = CostModel.fit([(64, 0.01)] * 20)
    assert model.seconds(64) == pytest.approx(0.01)


def test_a_machine_that_slows_down_is_followed() -> None:
    quick = [(size, 0.001 + size * 1e-5) for size in (32, 64, 128, 256)] * 50
    slow = [(size, 0.002 + size * 3e-5) for size in (32, 64, 128, 256)] * 50
    model = CostModel.fit(quick + slow)
    assert model.seconds(200) == pytest.approx(0.008, rel=0.05)


def test_runs_of_no_tokens_teach_what_a_run_costs_and_nothing_divides_by_zero() -> None:
    model = CostModel.fit([(32, 0.001), (128, 0.002), (256, 0.004), (512, 0.008)])
    for _ in range(80_000):
        model.observe(0, 0.003)
    assert model.seconds(0) == pytest.approx(0.003)
    assert 0 <= model.per_token <= 0.001
    model.observe(64, 0.005)
    assert isfinite(model.seconds(100))


BAD = st.sampled_from([float("nan"), float("inf"), -float("inf"), -1.0, -1e-9, 1e300])


@given(st.lists(st.tuples(BAD | st.just(64.0), BAD | st.just(0.01)), max_size=50))
def test_observations_that_no_run_has_change_nothing(runs: list[tuple[float, float]]) -> None:
    model = CostModel.fit([(32, 0.001), (256, 0.004)])
    before = replace(model)
    for tokens, seconds in runs:
        if (tokens, seconds) != (64.0, 0.01):
            model.observe(tokens, seconds)
    assert before == model


@given(st.lists(st.tuples(st.integers(1, 4), st.floats(0, 1e-300)), min_size=1, max_size=200))
def test_runs_that_take_no_time_at_all_cost_nothing(runs: list[tuple[int, float]]) -> None:
    model = CostModel.fit(runs)
    assert 0 <= model.fixed < 1e-9
    assert 0 <= model.per_token < 1e-9


@pytest.mark.parametrize("seconds", [float("nan"), float("inf")])
def test_a_padded_run_without_a_time_teaches_nothing(seconds: float) -> None:
    model = CostModel.fit([(32, 0.001), (256, 0.004)])
    model.observe_padding(100, 500, seconds)
    assert 1.0 == model.padding


def test_many_runs_cost_the_fixed_part_each() -> None:
    model = CostModel.fit((size, 0.001 + size * 1e-5) for size in (32, 64, 128, 256))
    assert model.seconds(1000, runs=10) == pytest.approx(0.02)


@given(st.floats(0, 1), st.integers(2, 100), st.integers(1, 5000))
def test_one_run_teaches_what_padding_costs(padding: float, tokens: int, extra: int) -> None:
    model = CostModel.fit((size, 0.001 + size * 1e-5) for size in (32, 64, 128, 256))
    seconds = 0.001 + (tokens + padding * extra) * 1e-5
    model.observe_padding(tokens, tokens + extra, seconds)
    assert model.padding == pytest.approx(padding, abs=1e-3)
    assert model.seconds(model.effective_tokens(tokens, tokens + extra)) == pytest.approx(
        seconds, rel=1e-3
    )


@pytest.mark.parametrize(("seconds", "padding"), [(0.0, 0.0), (60.0, 1.0)])
def test_padding_never_costs_less_than_nothing_or_more_than_text(seconds, padding) -> None:
    model = CostModel.fit((size, 0.001 + size * 1e-5) for size in (32, 64))
    model.observe_padding(100, 500, seconds)
    assert padding == model.padding
