"""Chooses batch size, cost model and threads from the measurements of a session.

Pure: the same measurements give the same choice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from semserve_server.registry.measurements import (
    LARGEST_BUDGET,
    SMALLEST_BUDGET,
    Measurements,
    blank_encoding,
    measure,
)
from semserve_server.runtime.encoding import Encoding
from semserve_server.runtime.runner import Runner
from semserve_server.scheduling.cost_model import CostModel

GAIN = 1.05
"""Minimum gain in tokens per second for a batch of twice the size to be worth its wait. A CPU
gains nothing from batches beyond some hundred tokens, CUDA gains up to many thousands."""
UNCERTAINTY = 1.12
"""Two measured sizes are compared directly only if their ratio differs from `GAIN` by this
factor."""
EXCLUSIVE_GAIN = 1.1
"""Minimum speedup of a single run with all threads over a run with a worker's threads. A second
session costs memory, and its threads disturb other work."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """The choices that follow from the measurements."""

    measurements: Measurements
    cost: CostModel
    max_batch_tokens: int
    """Batch size beyond which larger batches gain almost nothing."""
    lone_seconds: float
    """Time of a run of one entry with a worker's threads."""
    exclusive_pays: bool
    """Whether a single run with all threads is enough faster; True if that could not be
    measured."""

    @classmethod
    def of(cls, measured: Measurements) -> Calibration:
        """Choose. The same measurements give the same choice."""
        cost = CostModel.fit(measured.runs)
        cost.observe_padding(*measured.ragged)
        shared, exclusive = measured.shared_seconds, measured.exclusive_seconds
        return cls(
            measured,
            cost,
            choose_budget(measured.runs),
            measured.runs[0][1],
            exclusive_pays=shared is None
            or exclusive is None
            or exclusive * EXCLUSIVE_GAIN <= shared,
        )

    def __str__(self) -> str:
        exclusive = self.measurements.exclusive_seconds
        return (
            f"batches of {self.max_batch_tokens} tokens, a run costs "
            f"{self.cost.fixed * 1e3:.2f} ms and {self.cost.per_token * 1e6:.1f} us a token, "
            f"padding {self.cost.padding:.2f} of that, a lone run {self.lone_seconds * 1e3:.2f} ms"
            + (f", {exclusive * 1e3:.2f} ms with all threads" if exclusive is not None else "")
            + (
                ""
                if self.measurements.converged
                else "; the machine was busy, and the measurements did not converge"
            )
        )


def choose_budget(runs: Sequence[tuple[int, float]]) -> int:
    """Return the largest batch size that pays: each size up to it beats the one before.

    Args:
        runs: (tokens, seconds) by size. The first is a single entry. The third is the smallest size
            to choose: `SMALLEST_BUDGET`, or the size of eight entries of a padded length.
    """
    smallest = runs[2][0] if len(runs) > 2 else 0  # noqa: PLR2004  (lone, half of it, itself)
    budget = smallest = max(SMALLEST_BUDGET, smallest)
    for place, (smaller, larger) in enumerate(pairwise(runs), start=2):
        if smaller[0] > smallest // 2:
            if not _pays(smaller, larger, runs[:place]):
                break
            budget *= 2
    return budget


def _pays(
    smaller: tuple[int, float], larger: tuple[int, float], runs: Sequence[tuple[int, float]]
) -> bool:
    """Return whether the larger batch computes enough more tokens per second.

    If the two measurements are inconclusive, a line through all sizes decides. A larger batch can
    only save the fixed part of a run, and small sizes show that part best: an error of 3 % in a
    time changes the gain by 3 % if the two largest sizes are compared, and by about 0.6 % with the
    line.
    """
    # The comparison multiplies, because a clock may report a time of 0.
    before, after = smaller[1] * larger[0], larger[1] * smaller[0]
    if before > GAIN * UNCERTAINTY * after:
        return True
    if before * UNCERTAINTY <= GAIN * after:
        return False
    fixed, per_token = _line(runs)
    before, after = ((fixed + per_token * one[0]) for one in (smaller, larger))
    return before * larger[0] > GAIN * after * smaller[0]


def _line(runs: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """Return (fixed, per token) seconds, by least squares of the relative errors."""
    ones, tokens, squares, ones_sum, tokens_sum = 0.0, 0.0, 0.0, 0.0, 0.0
    for size, seconds in runs:
        one, scaled = 1 / max(seconds, 1e-9), size / max(seconds, 1e-9)
        ones += one * one
        tokens += one * scaled
        squares += scaled * scaled
        ones_sum += one
        tokens_sum += scaled
    determinant = ones * squares - tokens * tokens
    if determinant <= 0:  # one size only
        return 0.0, 1.0
    fixed = max((ones_sum * squares - tokens_sum * tokens) / determinant, 0.0)
    return fixed, max((tokens_sum - fixed * tokens) / squares, 0.0)


def calibrate(
    session: Runner,
    *,
    max_length: int,
    blank: Callable[[int], Encoding] = blank_encoding,
    most_tokens: int = LARGEST_BUDGET,
    exclusive: bool = False,
    clock: Callable[[], float] = time.perf_counter,
    wall: Callable[[], float] | None = None,
) -> Calibration:
    """Measure a session and choose; see `measure`.

    Batches of more than `most_tokens` are measured only if the smallest batches are as large.
    """
    return Calibration.of(
        measure(
            session,
            max_length=max_length,
            blank=blank,
            exclusive=exclusive,
            budget=lambda runs: min(choose_budget(runs), most_tokens),
            clock=clock,
            wall=wall,
        )
    )
