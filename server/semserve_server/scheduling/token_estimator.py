"""How many tokens texts will be, told by their characters before anybody reads them. Pure."""

from __future__ import annotations

from dataclasses import dataclass

MEMORY = 0.99
"""What a request still weighs after the next one: the last hundred decide."""


@dataclass(slots=True)
class TokenEstimator:
    """Tokens a character, special tokens included, as learnt from what was read."""

    _characters: float = 0.0
    _tokens: float = 0.0

    def observe(self, characters: int, tokens: int) -> None:
        """Take the texts of one request into account."""
        self._characters = self._characters * MEMORY + characters
        self._tokens = self._tokens * MEMORY + tokens

    def tokens(self, characters: int) -> int:
        """Tell how many tokens texts of so many characters will be; none while nothing is known."""
        return int(characters * self._tokens / self._characters) if self._characters else 0
