"""An encoding: the token ids of one text or pair, made by a tokenizer and run by a session."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Encoding:
    """Token ids of one text or pair, special tokens included, without padding."""

    token_ids: list[int]
    """Ids in the vocabulary, one for each token."""
    segment_ids: list[int]
    """0 for the first text and its separator, 1 for the second; as long as `token_ids`."""
    truncated_tokens: int = 0
    """Number of tokens that truncation dropped."""
    right_ids: list[int] | None = None
    """Ids of the second text, if the model takes the two texts of a pair as separate inputs."""
    padded_length: int = 0
    """Length to which the model pads every sequence; 0 if it pads to the longest of the batch."""
    side: int = 0
    """Encoder for this text, if the model has one for each side: 0 left, 1 right."""
    most_weights: int = 0
    """Number of the largest weights to keep of a sparse row; 0 for all."""

    def __len__(self) -> int:
        """Return the tokens that a run computes for this encoding, alone in its batch."""
        if self.right_ids is None:
            return self.padded_length or len(self.token_ids) or 1
        return 2 * (self.padded_length or max(self.longest, 1))

    @property
    def tokens(self) -> int:
        """Number of tokens of its texts."""
        right = self.right_ids
        return len(self.token_ids) if right is None else len(self.token_ids) + len(right)

    @property
    def longest(self) -> int:
        """Number of tokens of its longest sequence, to which the model's maximum applies."""
        right = self.right_ids
        return len(self.token_ids) if right is None else max(len(self.token_ids), len(right))
