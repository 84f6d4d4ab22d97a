"""The sequences of a model's training, and the layer of the graph that reproduces them.

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

from semserve_export.bundle.tolerance import TOLERANCE, Rows, scaled_difference
from semserve_export.errors import WeightsError
from semserve_export.keras_models.id_model import IdModel
from semserve_export.keras_models.token_source import TokenSource
from semserve_export.model_spec import Padding
from semserve_export.models.keras_internals import sublayers
from semserve_export.options import ModelOptions

FREE_LENGTH = 512  # limit of a text in tokens, if there is no other
TRIALS, LONGEST_TRIAL, SEED = 8, 24, 11
PROBED_PADDING = (1, 5, 17)


@dataclass(frozen=True, slots=True)
class Sequences:
    """The sequences that a model takes."""

    length: (
        int | None
    )  # of every sequence; None: any length, and padding does not change the answer
    padding: Padding = "post"
    truncating: Padding = "post"
    pad_id: int = 0
    most: int = FREE_LENGTH  # tokens of a text that are read

    @property
    def of_mask(self) -> "Sequences":
        """The same layout for masks, with 0 for padding."""
        return replace(self, pad_id=0)

    def row(self, ids: Sequence[int]) -> tuple[Any, Any]:
        """Pad or truncate one text as in training: its ids and its mask, int32 [1, length]."""
        cut = list(ids)
        if self.length is None:
            filled = cut or [self.pad_id]
            return np.array([filled], np.int32), np.array([[1] * len(filled)], np.int32)
        layout, mask = (
            keras.utils.pad_sequences(
                [values],
                maxlen=self.length,
                padding=self.padding,
                truncating=self.truncating,
                value=value,
            )
            for values, value in ((cut, self.pad_id), ([1] * len(cut), 0))
        )
        return layout, mask


class SequenceLayout(keras.layers.Layer):
    """Pads and truncates the ids of a batch as the training did."""

    def __init__(self, sequences: Sequences, **settings: Any) -> None:
        super().__init__(**settings)
        self.sequences = sequences

    def call(self, token_ids: Any, padding_mask: Any) -> Any:
        """Convert int32 [batch, sequence] (ids and mask) to int32 [batch, length].

        Args:
            token_ids: the texts' ids, padded at the end.
            padding_mask: 1 for a token, 0 for padding.
        """
        wanted = self.sequences
        ids = ops.where(padding_mask > 0, token_ids, wanted.pad_id)
        column = ops.zeros_like(ops.sum(ids, axis=1, keepdims=True)) + wanted.pad_id
        ids = ops.concatenate([ids, column], axis=1)  # a text without a token also has a column
        if wanted.length is None:
            return ids[:, : ops.maximum(ops.shape(ids)[1] - 1, 1)]
        tokens = ops.sum(padding_mask, axis=1, keepdims=True)
        kept = ops.minimum(tokens, wanted.length)
        start = wanted.length - kept if wanted.padding == "pre" else ops.zeros_like(kept)
        source = tokens - kept if wanted.truncating == "pre" else ops.zeros_like(kept)
        place = ops.expand_dims(ops.arange(wanted.length, dtype="int32"), 0) - start
        there = ops.logical_and(place >= 0, place < kept)
        picked = ops.where(there, place + source, 0)
        return ops.where(there, ops.take_along_axis(ids, picked, axis=1), wanted.pad_id)

    def compute_output_shape(self, token_ids_shape: Any, padding_mask_shape: Any) -> Any:
        """Return [batch, length]."""
        del padding_mask_shape
        return (token_ids_shape[0], self.sequences.length)


def find_sequences(
    options: ModelOptions, model: IdModel, tokens: TokenSource, ids: int
) -> Sequences:
    """Determine the sequences of a model's training.

    Args:
        options: the options of the export.
        model: the model.
        tokens: the source of its ids.
        ids: number of ids.

    Raises:
        WeightsError: they cannot be determined, or the options contradict the model.
    """
    _require_known_steps(model)
    length = _length(options, model, tokens)
    truncating = options.truncating or tokens.truncating or ("pre" if length else "post")
    limit = length or options.max_sequence_length or model.positions
    free = model.length is None and ignores_padding(model, ids, tokens.pad_id, limit)
    if length is None and not free:
        raise WeightsError(
            "padded_length: the model's answers depend on how many zeros follow a text; pass the"
            " length that its sequences were padded to (--padded-length), and the side"
            " (--padding pre or post)"
        )
    if length is None and options.padding:
        raise WeightsError(
            "padded_length: padding says that the sequences were padded, and nothing says to which"
            " length; pass it (--padded-length), or leave padding out where texts were never cut"
        )
    if length is None and truncating == "pre":
        raise WeightsError("truncating: pre needs the length that texts are cut to: padded_length")
    most = options.max_sequence_length or length or tokens.most or FREE_LENGTH
    most = min(most, model.positions or most)
    padding = options.padding or tokens.padding
    sequences = Sequences(length, padding or "post", truncating, tokens.pad_id, most)
    # A model with a mask input was trained with padding at the end.
    sided = padding != "post" and not model.names and depends_on_side(model, ids, sequences)
    if sided and padding is None:
        raise WeightsError(
            "padding: the model answers otherwise for a text with padding before it than after it;"
            " pass the side of the training (--padding pre or post; pre is pad_sequences' default)"
        )
    if sided and length is None:
        raise WeightsError(
            "padded_length: the model's answers depend on how many zeros come before a text; pass"
            " the length that its sequences were padded to (--padded-length)"
        )
    if free and truncating == "post" and not sided:
        return replace(sequences, length=None, padding="post")
    return sequences


def _require_known_steps(model: IdModel) -> None:
    """Refuse a `TimeDistributed` over sequences of any length.

    Keras 3.15 applies its layer to only as many steps as the batch has texts.
    """
    for layer in sublayers(model.model) if model.length is None else ():
        if isinstance(layer, keras.layers.TimeDistributed):
            raise WeightsError(
                f"the layer {layer.name} is a TimeDistributed over sequences of any length, of"
                " which Keras computes only as many steps as the batch has texts; give the model's"
                " input a length, or use the layer inside it alone: Dense acts on each step anyway"
            )


def _length(options: ModelOptions, model: IdModel, tokens: TokenSource) -> int | None:
    """Return the fixed length of sequences, if the model, its tokenizer or the options have one."""
    length, positions = model.length, model.positions
    for name, found in (("the tokenizer", tokens.length), ("padded_length", options.padded_length)):
        if length is not None and found is not None and found != length:
            raise WeightsError(f"{name}: sequences of {found} tokens, and the model takes {length}")
        length = found if length is None else length
    for name in ("padding", "truncating"):
        said, known = getattr(options, name), getattr(tokens, name)
        if said and known and said != known:
            raise WeightsError(f"{name}: {tokens.title} has {known!r}, and {said!r} is asked for")
    most = options.max_sequence_length or 0
    if length is not None and most > length:
        raise WeightsError(f"max_length: the model takes sequences of {length} tokens")
    if positions is not None and max(most, length or 0) > positions:
        name = "max_length" if most > positions else "padded_length"
        raise WeightsError(f"{name}: the model has vectors for {positions} positions")
    return length


def ignores_padding(model: IdModel, ids: int, pad_id: int, limit: int | None = None) -> bool:
    """Return whether padding at the end does not change the answers of a model of any length.

    Args:
        model: the model.
        ids: number of ids.
        pad_id: id of the padding.
        limit: maximum length of a sequence including padding, if the model has one.

    Raises:
        WeightsError: the model cannot run on token ids.
    """
    rows = _random_rows(ids, pad_id, min(LONGEST_TRIAL, limit or LONGEST_TRIAL))
    longest = max(rows, key=lambda row: int(row.shape[1]))
    model.predict(longest, np.ones_like(longest))  # raises if the model takes something else
    for row in rows:
        alone = _tried(model, row, pad_id)
        for more in PROBED_PADDING:
            added = more if limit is None else min(more, limit - row.shape[1])
            padded = np.pad(row, ((0, 0), (0, added)), constant_values=pad_id)
            answer = _tried(model, padded, pad_id)
            if alone is None or answer is None:
                return False
            if not scaled_difference(answer, alone) <= TOLERANCE:
                return False
    return True


def depends_on_side(model: IdModel, ids: int, sequences: Sequences) -> bool:
    """Return whether a model of one length answers differently if padding is at the start."""
    length = sequences.length or min(LONGEST_TRIAL, sequences.most)
    pad_id = sequences.pad_id
    for row in _random_rows(ids, pad_id, max(1, min(LONGEST_TRIAL, length - 1))):
        room = (0, length - row.shape[1])
        post, pre = (
            np.pad(row, ((0, 0), side), constant_values=pad_id) for side in (room, room[::-1])
        )
        one, other = (model.predict(rows, rows != pad_id) for rows in (post, pre))
        if not scaled_difference(other, one) <= TOLERANCE:
            return True
    return False


def _random_rows(ids: int, pad_id: int, longest: int) -> list[Any]:
    random = np.random.default_rng(SEED)
    rows = []
    for _ in range(TRIALS):
        row = random.integers(0, ids, (1, int(random.integers(1, longest + 1))), np.int32)
        rows.append(np.where(row == pad_id, (pad_id + 1) % max(ids, 2), row).astype(np.int32))
    return rows


def _tried(model: IdModel, row: Any, pad_id: int) -> Rows | None:
    """Run a model on a row that may be too short; None if the run fails."""
    try:
        return model.predict(row, (row != pad_id).astype(np.int32))
    except WeightsError:
        return None
