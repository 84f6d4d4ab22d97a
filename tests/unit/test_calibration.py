"""Calibration: it finds where larger batches stop paying, whatever the model's length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from semserve_server.calibration import calibrate
from semserve_server.encoding import Encoding


class Machine:
    """Takes a fixed time a run, and a time for text and for padding, on a clock of its own."""

    def __init__(
        self, fixed: float, per_token: float, *, longest: int = 512, padding: float = 1.0
    ) -> None:
        self.now = 0.0
        self._padding = padding
        self._fixed, self._per_token, self._longest = fixed, per_token, longest

    def run(self, encodings: Sequence[Encoding], *, wide: bool = False) -> NDArray[np.float32]:
        assert not wide
        longest = max(map(len, encodings))
        assert longest <= self._longest
        tokens = sum(map(len, encodings))
        computed = tokens + self._padding * (len(encodings) * longest - tokens)
        self.now += self._fixed + self._per_token * computed
        return np.zeros((len(encodings), 1), np.float32)

    def clock(self) -> float:
        return self.now


@pytest.mark.parametrize(("fixed", "per_token", "budget"), [
    (0.0, 0.001, 256), (0.001, 0.000_1, 256), (0.01, 0.000_01, 16_384), (1.0, 1e-9, 32_768),
])  # fmt: skip
def test_the_budget_grows_while_it_pays(fixed: float, per_token: float, budget: int) -> None:
    machine = Machine(fixed, per_token)
    found = calibrate(machine, max_length=512, clock=machine.clock)
    assert budget == found.max_batch_tokens
    assert fixed + 100 * per_token == pytest.approx(found.cost.seconds(100), rel=0.01)
    assert fixed + 32 * per_token == pytest.approx(found.lone_seconds)


def test_no_entry_is_longer_than_the_model_takes() -> None:
    machine = Machine(0.001, 0.001, longest=3)
    calibrate(machine, max_length=3, clock=machine.clock)


@pytest.mark.parametrize("padding", [0.0, 0.125, 1.0])
def test_what_padding_costs_is_measured(padding: float) -> None:
    machine = Machine(0.001, 0.000_1, padding=padding)
    found = calibrate(machine, max_length=512, clock=machine.clock)
    assert padding == pytest.approx(found.cost.padding, abs=0.01)
