"""What a run costs by its tokens, learnt at warm-up and refined by every run. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite

MEMORY = 0.98
"""What an observation still weighs after the next one: the last 50 runs or so decide."""
LONGEST_RUN = 86_400.0
"""Seconds. An observation of a longer run is a clock that stepped, and is ignored."""
MOST_TOKENS = 1_000_000_000
"""Tokens. An observation of more is ignored: no run has so many, and its square loses precision."""


@dataclass(slots=True)
class CostModel:
    """Seconds of one run = fixed + per token x tokens, by least squares.

    Padding counts as so many tokens as it costs: a whole one each where a graph computes it like
    any other, about a twentieth where only attention is padded. Older observations fade, so the
    line follows the machine: other work on its cores, lanes that share its memory, clocks that
    change. Sums are all that is kept.
    """

    _weight: float = 0.0
    _tokens: float = 0.0
    _seconds: float = 0.0
    _tokens_squared: float = 0.0
    _tokens_seconds: float = 0.0
    fixed: float = 0.001
    """Seconds of a run of no tokens."""
    per_token: float = 0.000_1
    """Seconds that each token adds."""
    padding: float = 1.0
    """What a slot of padding costs, in tokens: 0 to 1."""

    @classmethod
    def learnt(cls, observations: Iterable[tuple[int, float]]) -> CostModel:
        """Make a model from (tokens, seconds) of runs without padding."""
        model = cls()
        for tokens, seconds in observations:
            model.observe(tokens, seconds)
        return model

    def computed(self, tokens: int, padded_tokens: int) -> float:
        """Return how many tokens without padding cost what these do.

        Args:
            tokens: of the entries.
            padded_tokens: entries times the longest of them.
        """
        return tokens + self.padding * (padded_tokens - tokens)

    def observe(self, tokens: float, seconds: float) -> None:
        """Take a run into account.

        Args:
            tokens: computed by the run; 0 is a run of empty texts and teaches the fixed part.
            seconds: that the run took.

        Numbers that no run has (negative, not finite, beyond `MOST_TOKENS` or `LONGEST_RUN`) are
        ignored, so that one bad observation cannot spoil the sums.
        """
        if not (0 <= tokens <= MOST_TOKENS and 0 <= seconds <= LONGEST_RUN):
            return
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
            self.per_token = max(covariance / spread, 0.0)
        # Noise must not make the fixed part negative. Multiplied and not divided: after many runs
        # of no tokens the mean is 0.
        if self.per_token * mean_tokens > mean_seconds:
            self.per_token = mean_seconds / mean_tokens
        self.fixed = max(mean_seconds - self.per_token * mean_tokens, 0.0)

    def learn_padding(self, tokens: int, padded_tokens: int, seconds: float) -> None:
        """Take from one run with much padding what padding costs."""
        extra = self.per_token * (padded_tokens - tokens)
        if extra > 0 and isfinite(seconds):
            self.padding = min(max((seconds - self.seconds(tokens)) / extra, 0.0), 1.0)

    def seconds(self, tokens: float, *, runs: float = 1) -> float:
        """Predict how long so many tokens take, in so many runs one after another."""
        return runs * self.fixed + self.per_token * tokens
