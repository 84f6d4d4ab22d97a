"""Estimates the tokens of texts from their characters, before they are tokenised. Pure."""

from __future__ import annotations

from dataclasses import dataclass

FORGETTING_FACTOR = 0.99
"""Weight of a request after the next one: about the last hundred requests decide."""


@dataclass(slots=True)
class TokenEstimator:
    """The recent ratio of tokens to characters, special tokens included."""

    _characters: float = 0.0
    _tokens: float = 0.0

    def observe(self, characters: int, tokens: int) -> None:
        """Learn from the texts of one request."""
        self._characters = self._characters * FORGETTING_FACTOR + characters
        self._tokens = self._tokens * FORGETTING_FACTOR + tokens

    def tokens(self, characters: int) -> int:
        """Estimate the tokens of texts with `characters` characters; 0 before the first request."""
        return int(characters * self._tokens / self._characters) if self._characters else 0
