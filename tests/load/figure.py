"""A figure: one number with its bar, how far its rounds spread, and whether it passes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

Verdict = Literal["PASS", "MISS", "FAIL", "SKIP", "INFO"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What a part of the bench found."""

    name: str
    value: float = math.nan
    spread: tuple[float, float] = (math.nan, math.nan)
    """The least and the greatest of the rounds."""
    unit: str = "x"
    bar: float | None = None
    """None where nobody asks for more than the number itself."""
    at_least: bool = True
    """Whether the bar is a floor; else a ceiling."""
    detail: str = ""
    skipped: str = ""
    """Why nothing was measured."""
    failed: str = ""
    """What went wrong while it was measured."""

    @property
    def verdict(self) -> Verdict:
        """Hold the value against the bar."""
        if self.failed:
            return "FAIL"
        if self.skipped:
            return "SKIP"
        if self.bar is None:
            return "INFO"
        # Not a number is neither above nor below, so it passes nothing.
        passed = self.value >= self.bar if self.at_least else self.value <= self.bar
        return "PASS" if passed else "MISS"

    @property
    def bar_text(self) -> str:
        """The bar with its direction."""
        if self.bar is None:
            return ""
        return f"{'at least' if self.at_least else 'at most'} {self.bar:g} {self.unit}".rstrip()

    @property
    def value_text(self) -> str:
        """The value with its spread, or why there is none."""
        if self.failed or self.skipped:
            return self.failed or self.skipped
        low, high = self.spread
        spread = "" if math.isnan(low) else f" ({low:.3g} to {high:.3g})"
        return f"{self.value:.4g} {self.unit}".rstrip() + spread


def of_rounds(values: Sequence[float]) -> dict[str, object]:
    """Return value and spread of a Figure from one number a round."""
    return {"value": median(values), "spread": (min(values), max(values))}


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, object]:
    """Return value and spread of a Figure: ours over theirs, each round with its own."""
    return of_rounds(
        [mine / other if other else math.nan for mine, other in zip(ours, theirs, strict=True)]
    )
