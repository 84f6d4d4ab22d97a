"""Calibration: it finds where larger batches stop paying, however the machine is disturbed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import count, repeat

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from semserve_server.registry.calibration import Calibration, calibrate, choose_budget
from semserve_server.registry.measurements import MAX_SECONDS, Measurements
from semserve_server.runtime.encoding import Encoding

Noise = Callable[[random.Random], Iterator[float]]


class Machine:
    """Takes a fixed time a run, and a time for text and for padding, on a clock of its own."""

    def __init__(
        self,
        fixed: float,
        per_token: float,
        *,
        longest: int = 512,
        padding: float = 1.0,
        exclusive: float = 1.0,
        noise: Iterator[float] | None = None,
    ) -> None:
        """Make one; `exclusive` is how many times longer a run takes with all threads."""
        self.now = 0.0
        self.runs = 0
        self._padding, self._exclusive = padding, exclusive
        self._fixed, self._per_token, self._longest = fixed, per_token, longest
        self._noise = noise or repeat(1.0)

    def run(self, encodings: Sequence[Encoding], *, exclusive: bool = False) -> NDArray[np.float32]:
        longest = max(map(len, encodings))
        assert longest <= self._longest
        tokens = sum(map(len, encodings))
        computed = tokens + self._padding * (len(encodings) * longest - tokens)
        seconds = (self._fixed + self._per_token * computed) * (self._exclusive if exclusive else 1)
        self.now += seconds * next(self._noise)
        self.runs += 1
        return np.zeros((len(encodings), 1), np.float32)

    def clock(self) -> float:
        return self.now

    def calibrate(self, *, exclusive: bool = False, max_length: int = 512) -> Calibration:
        return calibrate(self, max_length=max_length, exclusive=exclusive, clock=self.clock)


MACHINES = [(0.0, 0.001, 256), (0.001, 0.000_1, 256), (0.01, 0.000_01, 16_384), (1.0, 1e-9, 32_768)]


@pytest.mark.parametrize(("fixed", "per_token", "budget"), MACHINES)
def test_the_budget_grows_while_it_pays(fixed: float, per_token: float, budget: int) -> None:
    calibration = Machine(fixed, per_token).calibrate()
    assert budget == calibration.max_batch_tokens
    assert fixed + 100 * per_token == pytest.approx(calibration.cost.seconds(100), rel=0.01)
    assert fixed + 32 * per_token == pytest.approx(calibration.lone_seconds)
    assert calibration.measurements.converged


def swings(rng: random.Random) -> Iterator[float]:
    """Each run takes up to 30 % longer."""
    return (1 + 0.3 * rng.random() for _ in count())


def phases(rng: random.Random) -> Iterator[float]:
    """For some runs on end all take 30 % longer, as where the clock of the CPU changes."""
    while True:
        yield from repeat(rng.choice([1.0, 1.3]), rng.randint(1, 25))


def outliers(rng: random.Random) -> Iterator[float]:
    """One run in five is interrupted, for up to ten times what it takes."""
    return (rng.uniform(1, 10) if rng.random() < 0.2 else 1 + 0.005 * rng.random() for _ in count())


def neighbour(rng: random.Random) -> Iterator[float]:
    """Every second run shares its CPU with another program."""
    return (rng.choice([1.0, 1.5 + 0.3 * rng.random()]) for _ in count())


DISTURBED = [
    (0.001, 0.000_1, 256), (0.000_8, 0.000_05, 256), (0.0025, 0.000_15, 256),
    (0.004, 0.000_05, 1024), (0.01, 1e-6, 32_768),
]  # fmt: skip
"""Of no doubt: the tokens a second that each doubling gains are 1 % or more from the bound."""


@pytest.mark.parametrize(
    ("fixed", "per_token", "budget", "noise"),
    [
        *((*machine, noise) for machine in DISTURBED for noise in (swings, phases, outliers)),
        *((*machine, neighbour) for machine in DISTURBED[:3]),
    ],
)
def test_every_start_chooses_the_same_budget_on_a_disturbed_machine(
    fixed: float, per_token: float, budget: int, noise: Noise
) -> None:
    for seed in range(20):
        disturbed = noise(random.Random(seed))  # noqa: S311  (no secret)
        calibration = Machine(fixed, per_token, noise=disturbed).calibrate(exclusive=True)
        assert budget == calibration.max_batch_tokens
        # In a slow phase as long as all of the measuring, the cost is what it is then.
        assert 0.75 <= calibration.cost.seconds(256) / (fixed + 256 * per_token) <= 1.6


@given(st.integers(1, 50))
def test_measuring_ends_on_a_machine_that_is_never_at_rest(longest: int) -> None:
    """Every run takes longer than the one before it, so that no two agree."""
    machine = Machine(0.01, 0.000_1, noise=(1.1**n for n in count()), longest=longest)
    calibration = machine.calibrate(max_length=longest)
    assert not calibration.measurements.converged
    assert machine.runs < 60 * 12 or machine.now > MAX_SECONDS


def test_on_a_quiet_machine_three_tries_are_enough() -> None:
    machine = Machine(0.001, 0.000_1)
    machine.calibrate()
    assert 3 * 5 == machine.runs


sizes = st.lists(st.floats(0, 3600), min_size=4, max_size=11)


@given(sizes)
def test_whatever_was_recorded_the_choice_is_the_same_and_within_its_bounds(
    seconds: list[float],
) -> None:
    tokens = [32, 128, *(256 << n for n in range(9))]
    runs = list(zip(tokens, seconds, strict=False))
    budget = choose_budget(runs)
    assert budget == choose_budget(list(runs))
    assert 256 <= budget <= max(256, runs[-1][0])


@pytest.mark.parametrize(
    ("times", "pays"), [(0.6, True), (0.95, False), (1.0, False), (3.0, False)]
)
def test_a_lone_run_has_all_threads_only_where_that_is_quicker(times: float, *, pays: bool) -> None:
    calibration = Machine(0.001, 0.000_1, exclusive=times).calibrate(exclusive=True)
    assert pays is calibration.exclusive_pays


@pytest.mark.parametrize(("fixed", "budget"), [(0.0, 1600), (0.05, 6400), (10.0, 51_200)])
def test_entries_of_a_fixed_length_are_measured_several_in_a_batch(
    fixed: float, budget: int
) -> None:
    """Each has 200 tokens whatever its text, so a batch of 256 tokens would be one text."""
    machine = Machine(fixed, 0.000_1, longest=200)
    calibration = calibrate(
        machine,
        max_length=200,
        blank=lambda length: Encoding([0] * length, [0] * length, padded_length=200),
        clock=machine.clock,
    )
    assert budget == calibration.max_batch_tokens
    assert {0} == {tokens % 200 for tokens, _ in calibration.measurements.runs}


def test_no_batch_is_measured_that_is_larger_than_asked_for() -> None:
    machine = Machine(1.0, 1e-9)
    calibration = calibrate(machine, max_length=512, most_tokens=2000, clock=machine.clock)
    assert 2048 == calibration.measurements.runs[-1][0]


def test_no_entry_is_longer_than_the_model_takes() -> None:
    Machine(0.001, 0.001, longest=3).calibrate(max_length=3)


@pytest.mark.parametrize("padding", [0.0, 0.125, 1.0])
def test_what_padding_costs_is_measured(padding: float) -> None:
    calibration = Machine(0.001, 0.000_1, padding=padding).calibrate()
    assert padding == pytest.approx(calibration.cost.padding, abs=0.01)


def test_a_clock_that_stands_still_gives_the_smallest_budget() -> None:
    calibration = Machine(0.0, 0.0).calibrate(exclusive=True)
    assert 256 == calibration.max_batch_tokens
    assert 0.0 == calibration.cost.seconds(100)


def measured(*seconds: float, converged: bool, exclusive: float | None = None) -> Measurements:
    runs = list(zip([32, 128, 256, 512, 1024], seconds, strict=False))
    return Measurements(
        runs=runs,
        ragged=(120, 512, seconds[2]),
        exclusive_seconds=exclusive,
        shared_seconds=exclusive,
        converged=converged,
    )


def test_two_starts_that_did_not_settle_settle_where_they_agree() -> None:
    first = measured(0.1, 0.4, 0.8, 1.6, converged=False, exclusive=0.05)
    second = measured(0.101, 0.399, 0.81, 1.61, converged=False, exclusive=0.05)
    merged = first.merged(second)
    assert merged.converged
    assert [(32, 0.1), (128, 0.399), (256, 0.8), (512, 1.6)] == merged.runs
    unsettled = first.merged(measured(0.1, 0.4, 0.8, 3.2, 6.4, converged=False))
    assert not unsettled.converged
    assert [(32, 0.1), (128, 0.4), (256, 0.8), (512, 1.6), (1024, 6.4)] == unsettled.runs
    assert 0.05 == unsettled.exclusive_seconds
    assert unsettled.merged(first).converged, "the least of three starts has to do"


def test_a_run_of_one_thread_costs_its_cpu_time_however_busy_the_machine_is() -> None:
    """Every run takes many times its CPU time on the wall, and never the same."""
    machine = Machine(0.001, 0.000_1)
    calibration = calibrate(
        machine, max_length=512, exclusive=True, clock=machine.clock, wall=lambda: machine.now**1.5
    )
    assert 256 == calibration.max_batch_tokens
    assert calibration.exclusive_pays, "what could not be measured is not dropped"
    assert calibration.cost.seconds(256) == pytest.approx(0.0266)
    assert calibration.lone_seconds == pytest.approx(0.0042)
