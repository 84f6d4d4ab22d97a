"""The format of a model's sequences, and the layer of the graph that reproduces it.

The server pads a batch at the end, to any length, with a mask. A model that was trained on
sequences of one length, or that has no mask, would give other answers. Therefore the graph begins
with a layer that pads and truncates each text as the training did.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import ops

from semserve_export.model_spec import Padding

FREE_LENGTH = 512  # limit of a text in tokens, if there is no other


@dataclass(frozen=True, slots=True)
class SequenceFormat:
    """The sequences that a model takes. Padding and truncation are those of `pad_sequences`."""

    length: int | None  # of every sequence; None: any, and padding does not change the answer
    padding: Padding = "post"
    truncating: Padding = "post"
    pad_id: int = 0
    max_tokens: int = FREE_LENGTH  # of a text that are read

    @property
    def of_mask(self) -> "SequenceFormat":
        """The same format for masks, with 0 for padding."""
        return replace(self, pad_id=0)

    def row(self, ids: Sequence[int]) -> tuple[Any, Any]:
        """Pad or truncate one text as in training: its ids and its mask, int32 [1, length]."""
        if self.length is None:
            filled = list(ids) or [self.pad_id]
            return np.array([filled], np.int32), np.ones((1, len(filled)), np.int32)
        row, mask = (
            keras.utils.pad_sequences(
                [values],
                maxlen=self.length,
                padding=self.padding,
                truncating=self.truncating,
                value=value,
            )
            for values, value in ((list(ids), self.pad_id), ([1] * len(ids), 0))
        )
        return row, mask


class SequenceLayer(keras.layers.Layer):
    """Pads and truncates the ids of a batch as the training did."""

    def __init__(self, sequences: SequenceFormat, **settings: Any) -> None:
        super().__init__(**settings)
        self.sequences = sequences

    def call(self, token_ids: Any, padding_mask: Any) -> Any:
        """Convert int32 [batch, sequence] (ids and mask) to int32 [batch, length].

        Args:
            token_ids: the texts' ids, padded at the end.
            padding_mask: 1 for a token, 0 for padding.
        """
        length, pad_id = self.sequences.length, self.sequences.pad_id
        ids = ops.where(padding_mask > 0, token_ids, pad_id)
        column = ops.zeros_like(ops.sum(ids, axis=1, keepdims=True)) + pad_id
        ids = ops.concatenate([ids, column], axis=1)  # a text without a token also has a column
        if length is None:
            return ids[:, : ops.maximum(ops.shape(ids)[1] - 1, 1)]
        tokens = ops.sum(padding_mask, axis=1, keepdims=True)
        kept = ops.minimum(tokens, length)
        zero = ops.zeros_like(kept)
        first = length - kept if self.sequences.padding == "pre" else zero  # column of a token
        dropped = tokens - kept if self.sequences.truncating == "pre" else zero  # before the first
        place = ops.expand_dims(ops.arange(length, dtype="int32"), 0) - first
        is_token = ops.logical_and(place >= 0, place < kept)
        source = ops.where(is_token, place + dropped, 0)
        return ops.where(is_token, ops.take_along_axis(ids, source, axis=1), pad_id)

    def compute_output_shape(self, token_ids_shape: Any, padding_mask_shape: Any) -> Any:
        """Return [batch, length]."""
        del padding_mask_shape
        return (token_ids_shape[0], self.sequences.length)
