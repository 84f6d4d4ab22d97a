"""An encoding: the token ids of one text or pair, made by a tokenizer and run by a session."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Encoding:
    """Token ids of one text or pair, special tokens included, without padding."""

    token_ids: list[int]
    """Ids in the vocabulary, one for each token."""
    segment_ids: list[int]
    """0 for the first text and its separator, 1 for the second; as long as `token_ids`."""
    truncated_tokens: int = 0
    """Number of tokens that truncation dropped."""

    def __len__(self) -> int:
        return len(self.token_ids)
