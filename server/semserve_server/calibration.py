"""Measures a session at the start: what runs and padding cost, and which batches are the best."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from semserve_server.cost import CostModel
from semserve_server.encoding import Encoding
from semserve_server.runner import Runner

ENTRY_TOKENS = 32
"""Most tokens of the measured entries: a long question, a short sentence pair."""
RAGGED = (64, 8, 8, 8, 8, 8, 8, 8)
"""Tokens of the entries that show what padding costs: three quarters of that batch are padding."""
TRIES = 2
"""Runs of each size; the quickest is what the size costs, the others were disturbed."""
SMALLEST_BUDGET = 256
"""Batches below it leave too few entries of like length to choose among."""
LARGEST_BUDGET = 32_768
GAIN = 1.05
"""How much more tokens a second a batch of twice the size must give to be worth its wait. A CPU
gains nothing from larger batches than some hundred tokens, CUDA up to many thousands."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was measured."""

    cost: CostModel
    max_batch_tokens: int
    """The budget beyond which larger batches give next to nothing."""
    lone_seconds: float
    """What a run of one entry takes, as one among others."""


def calibrate(
    session: Runner, *, max_length: int, clock: Callable[[], float] = time.perf_counter
) -> Calibration:
    """Run batches of growing size until the growth no longer pays.

    Args:
        session: warm already, so that nothing is measured but runs.
        max_length: most tokens of an entry.
        clock: in seconds.
    """

    def seconds_of(batch: list[Encoding]) -> float:
        seconds = []
        for _ in range(TRIES):
            started = clock()
            session.run(batch)
            seconds.append(clock() - started)
        return min(seconds)

    def measure(tokens: int) -> tuple[int, float]:
        length = min(ENTRY_TOKENS, max_length)
        batch = [_blank(length)] * max(tokens // length, 1)
        return len(batch) * length, seconds_of(batch)

    runs = [measure(tokens) for tokens in (1, SMALLEST_BUDGET // 2, SMALLEST_BUDGET)]
    budget = SMALLEST_BUDGET
    while budget < LARGEST_BUDGET:
        runs.append(measure(budget * 2))
        if not _paid(*runs[-2:]):
            break
        budget *= 2
    cost = CostModel.learnt(runs)
    lengths = [min(length, max_length) for length in RAGGED]
    ragged = [_blank(length) for length in lengths]
    cost.learn_padding(sum(lengths), len(lengths) * max(lengths), seconds_of(ragged))
    return Calibration(cost, budget, runs[0][1])


def _blank(length: int) -> Encoding:
    return Encoding([0] * length, [0] * length)


def _paid(smaller: tuple[int, float], larger: tuple[int, float]) -> bool:
    """Tell whether the larger batch computes more tokens a second, by enough."""
    return larger[0] / larger[1] > GAIN * smaller[0] / smaller[1]
