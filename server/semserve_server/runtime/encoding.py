"""An encoding: what a tokenizer makes of one text or pair, and what a session runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Encoding:
    """Token ids of one text or pair, special tokens included, without padding."""

    token_ids: list[int]
    """Ids in the vocabulary, one a token."""
    segment_ids: list[int]
    """0 for the first text and its separator, 1 for the second; as long as `token_ids`."""
    truncated_tokens: int = 0
    """How many tokens were dropped to fit the model."""

    def __len__(self) -> int:
        return len(self.token_ids)
