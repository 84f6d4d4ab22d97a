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
    right_ids: list[int] | None = None
    """Ids of the second text, where the model takes the two texts of a pair as separate inputs."""
    padded_length: int = 0
    """The length that the model pads every sequence to; 0 where it pads to the longest."""
    side: int = 0
    """Which encoder reads it, where the model has one for each side: 0 left, 1 right."""
    most_weights: int = 0
    """How many weights of a sparse row are wanted, the largest ones; 0 for all."""

    def __len__(self) -> int:
        """Return the tokens that a run computes for it, alone in its batch."""
        sequence = self.padded_length or max(self.longest, 1)
        return sequence if self.right_ids is None else 2 * sequence

    @property
    def tokens(self) -> int:
        """How many tokens its texts have."""
        return len(self.token_ids) + len(self.right_ids or ())

    @property
    def longest(self) -> int:
        """How many tokens its longest sequence has, which the model's limit is for."""
        return max(len(self.token_ids), len(self.right_ids or ()))
