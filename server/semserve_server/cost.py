"""What a run costs by its padded tokens, learnt at warm-up and refined by every run. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

MEMORY = 0.98
"""What an observation still weighs after the next one: the last 50 runs or so decide."""


@dataclass(slots=True)
class CostModel:
    """Seconds of one run = fixed + per token x padded tokens, by least squares.

    Older observations fade, so the line follows the machine: other work on its cores, lanes that
    share its memory, clocks that change. Sums are all that is kept.
    """

    _weight: float = 0.0
    _tokens: float = 0.0
    _seconds: float = 0.0
    _tokens_squared: float = 0.0
    _tokens_seconds: float = 0.0
    fixed: float = 0.001
    """Seconds of a run of no tokens."""
    per_token: float = 0.000_1
    """Seconds that each padded token adds."""

    @classmethod
    def learnt(cls, observations: Iterable[tuple[int, float]]) -> CostModel:
        """Make a model from (padded tokens, seconds) of runs."""
        model = cls()
        for tokens, seconds in observations:
            model.observe(tokens, seconds)
        return model

    def observe(self, tokens: int, seconds: float) -> None:
        """Take a run into account."""
        self._weight = self._weight * MEMORY + 1
        self._tokens = self._tokens * MEMORY + tokens
        self._seconds = self._seconds * MEMORY + seconds
        self._tokens_squared = self._tokens_squared * MEMORY + tokens * tokens
        self._tokens_seconds = self._tokens_seconds * MEMORY + tokens * seconds
        spread = self._weight * self._tokens_squared - self._tokens * self._tokens
        mean_tokens = self._tokens / self._weight
        mean_seconds = self._seconds / self._weight
        if spread > self._weight * self._weight:  # a standard deviation of over one token
            covariance = self._weight * self._tokens_seconds - self._tokens * self._seconds
            # Noise must not make tokens free or the fixed part negative.
            self.per_token = min(max(covariance / spread, 0.0), mean_seconds / mean_tokens)
        else:
            self.per_token = min(self.per_token, mean_seconds / mean_tokens)
        self.fixed = mean_seconds - self.per_token * mean_tokens

    def seconds(self, tokens: int, *, runs: float = 1) -> float:
        """Predict how long so many padded tokens take, in so many runs one after another."""
        return runs * self.fixed + self.per_token * tokens
