"""The cost of a run as a function of its tokens, fitted at the start and refined by every run.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite

FORGETTING_FACTOR = 0.98
"""Weight of an observation after the next one: about the last 50 runs decide."""
LONGEST_RUN = 86_400.0
"""Seconds. An observation of a longer run comes from a clock that stepped, and is ignored."""
MOST_TOKENS = 1_000_000_000
"""Tokens. An observation of more is ignored: no run has so many, and the square loses precision."""


@dataclass(slots=True)
class CostModel:
    """Seconds of a run = fixed + per_token * tokens, by recursive least squares with forgetting.

    A token of padding counts by its cost: 1 if the graph computes padding like text, and about 1/20
    if only attention is padded. Older observations lose weight, so that the model follows changes
    of the machine: other load on the CPUs, other workers that use the memory bandwidth, CPU
    frequency. Only sums are stored.
    """

    _weight: float = 0.0
    _tokens: float = 0.0
    _seconds: float = 0.0
    _tokens_squared: float = 0.0
    _tokens_seconds: float = 0.0
    fixed: float = 0.001
    """Seconds of a run without tokens."""
    per_token: float = 0.000_1
    """Seconds for each token."""
    padding: float = 1.0
    """Cost of a token of padding, as a fraction of a token of text: 0 to 1."""

    @classmethod
    def fit(cls, observations: Iterable[tuple[int, float]]) -> CostModel:
        """Fit a model to (tokens, seconds) of runs without padding."""
        model = cls()
        for tokens, seconds in observations:
            model.observe(tokens, seconds)
        return model

    def effective_tokens(self, tokens: int, padded_tokens: int) -> float:
        """Return the number of tokens without padding that cost the same.

        Args:
            tokens: tokens of the entries.
            padded_tokens: number of entries times the longest of them.
        """
        return tokens + self.padding * (padded_tokens - tokens)

    def observe(self, tokens: float, seconds: float) -> None:
        """Learn from a run.

        Args:
            tokens: effective tokens of the run; a run of 0 tokens (empty texts) teaches the fixed
                part.
            seconds: time of the run.

        Impossible values (negative, not finite, beyond `MOST_TOKENS` or `LONGEST_RUN`) are ignored,
        so that one bad observation cannot spoil the sums.
        """
        if not (0 <= tokens <= MOST_TOKENS and 0 <= seconds <= LONGEST_RUN):
            return
        self._weight = self._weight * FORGETTING_FACTOR + 1
        self._tokens = self._tokens * FORGETTING_FACTOR + tokens
        self._seconds = self._seconds * FORGETTING_FACTOR + seconds
        self._tokens_squared = self._tokens_squared * FORGETTING_FACTOR + tokens * tokens
        self._tokens_seconds = self._tokens_seconds * FORGETTING_FACTOR + tokens * seconds
        spread = self._weight * self._tokens_squared - self._tokens * self._tokens
        mean_tokens = self._tokens / self._weight
        mean_seconds = self._seconds / self._weight
        if spread > self._weight * self._weight:  # a standard deviation of over one token
            covariance = self._weight * self._tokens_seconds - self._tokens * self._seconds
            self.per_token = max(covariance / spread, 0.0)
        # Noise must not make the fixed part negative. The comparison multiplies because the mean is
        # 0 after many runs without tokens.
        if self.per_token * mean_tokens > mean_seconds:
            self.per_token = mean_seconds / mean_tokens
        self.fixed = max(mean_seconds - self.per_token * mean_tokens, 0.0)

    def observe_padding(self, tokens: int, padded_tokens: int, seconds: float) -> None:
        """Learn the cost of padding from one run with much padding."""
        extra = self.per_token * (padded_tokens - tokens)
        if extra > 0 and isfinite(seconds):
            self.padding = min(max((seconds - self.seconds(tokens)) / extra, 0.0), 1.0)

    def seconds(self, tokens: float, *, runs: float = 1) -> float:
        """Predict the time of `tokens` in `runs` runs one after another."""
        return runs * self.fixed + self.per_token * tokens
