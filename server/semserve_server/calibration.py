"""Measures a session at the start: what a run costs, and how many tokens make the best batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from semserve_server.batcher import Runner
from semserve_server.cost import CostModel
from semserve_server.encoding import Encoding

ENTRY_TOKENS = 32
"""Length of the measured entries: a long question, a short sentence pair."""
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


def calibrate(session: Runner, *, clock: Callable[[], float] = time.perf_counter) -> Calibration:
    """Run batches of growing size until the growth no longer pays.

    Args:
        session: warm already, so that nothing is measured but runs.
        clock: in seconds.
    """

    def measure(tokens: int) -> float:
        batch = [Encoding([0] * ENTRY_TOKENS, [0] * ENTRY_TOKENS)] * (tokens // ENTRY_TOKENS)
        started = clock()
        session.run(batch)
        return clock() - started

    runs = [(tokens, measure(tokens)) for tokens in (ENTRY_TOKENS, 128, SMALLEST_BUDGET)]
    while _worth_doubling(runs):
        tokens = runs[-1][0] * 2
        runs.append((tokens, measure(tokens)))
    budget = runs[-2][0] if runs[-1][0] > SMALLEST_BUDGET else SMALLEST_BUDGET
    return Calibration(CostModel.learnt(runs), budget)


def _worth_doubling(runs: Sequence[tuple[int, float]]) -> bool:
    """Tell whether the last doubling paid, or none has been tried beyond the smallest budget."""
    (fewer, before), (more, after) = runs[-2:]
    if more <= SMALLEST_BUDGET:
        return True
    return more < LARGEST_BUDGET and more / after > GAIN * fewer / before
