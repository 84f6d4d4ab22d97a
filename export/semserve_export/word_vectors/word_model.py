"""Encoders over word vectors in Keras: the average, and an LSTM.

Padding does not change the answer: the average excludes it, and the LSTM's state does not change
there.
"""

from typing import Any

import keras
from keras import ops

from semserve_export.encoder_weights import Array

WORDS, LSTM = "words", "lstm"
"""The names of the layers that have weights."""


def average_encoder(table: Array) -> Any:
    """Build the average of a text's word vectors, of length one.

    Args:
        table: fp32 [vocabulary, dimensions]; the rows of frequent words have small norms.

    Returns:
        A model from `token_ids` and `padding_mask`, int32 [batch, sequence], to fp32 [batch,
        dimensions]; a row without a known word is zero.
    """
    token_ids, padding_mask = _inputs()
    real = ops.expand_dims(ops.cast(padding_mask, "float32"), axis=2)
    total = ops.sum(_words(table)(token_ids) * real, axis=1)
    mean = total / ops.maximum(ops.sum(real, axis=1), 1)
    return _model(token_ids, padding_mask, keras.layers.UnitNormalization(name="unit")(mean))


def lstm_encoder(table: Array, units: int, *, normalize: bool) -> Any:
    """Build an LSTM whose last state is the vector of the text.

    Args:
        table: fp32 [vocabulary, dimensions].
        units: the width of the state.
        normalize: whether the state is scaled to length one.

    Returns:
        A model from `token_ids` and `padding_mask`, int32 [batch, sequence], to fp32 [batch,
        units].
    """
    token_ids, padding_mask = _inputs()
    lstm = keras.layers.LSTM(units, name=LSTM)
    state = lstm(_words(table)(token_ids), mask=ops.cast(padding_mask, "bool"))
    if normalize:
        state = keras.layers.UnitNormalization(name="unit")(state)
    return _model(token_ids, padding_mask, state)


def _inputs() -> tuple[Any, Any]:
    token_ids, padding_mask = (
        keras.Input((None,), dtype="int32", name=name) for name in ("token_ids", "padding_mask")
    )
    return token_ids, padding_mask


def _words(table: Array) -> Any:
    layer = keras.layers.Embedding(*table.shape, name=WORDS)
    layer.build()
    layer.set_weights([table])
    return layer


def _model(token_ids: Any, padding_mask: Any, output: Any) -> Any:
    return keras.Model({"token_ids": token_ids, "padding_mask": padding_mask}, output)
