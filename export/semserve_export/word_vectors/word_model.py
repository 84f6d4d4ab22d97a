"""Encoders over word vectors in Keras: the average, and an LSTM.

Id 0 is padding, and a mask excludes it.
"""

from typing import Any

import keras

from semserve_export.encoder_weights import Array

WORDS, LSTM = "words", "lstm"
"""The names of the layers that have weights."""


def average_encoder(table: Array) -> Any:
    """Build the average of a text's word vectors, of length one.

    Args:
        table: fp32 [vocabulary, dimensions]; the rows of frequent words have small norms.

    Returns:
        A model from ids, int32 [batch, sequence], to fp32 [batch, dimensions].
    """
    return _encoder(table, keras.layers.GlobalAveragePooling1D(), normalize=True)


def lstm_encoder(table: Array, units: int, *, normalize: bool) -> Any:
    """Build an LSTM whose last state is the vector of the text.

    Args:
        table: fp32 [vocabulary, dimensions].
        units: the width of the state.
        normalize: whether the state is scaled to length one.

    Returns:
        A model from ids, int32 [batch, sequence], to fp32 [batch, units].
    """
    return _encoder(table, keras.layers.LSTM(units, name=LSTM), normalize=normalize)


def _encoder(table: Array, pooling: Any, *, normalize: bool) -> Any:
    words = keras.layers.Embedding(*table.shape, mask_zero=True, name=WORDS)
    ids = keras.Input((None,), dtype="int32")
    vector = pooling(words(ids))
    words.set_weights([table])
    return keras.Model(
        ids, keras.layers.UnitNormalization(name="unit")(vector) if normalize else vector
    )
