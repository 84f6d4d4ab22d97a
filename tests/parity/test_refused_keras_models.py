"""A Keras model that contradicts what is said of it, or leaves something open: one line tells."""

import keras
import keras_hub
import numpy as np
import pytest
import semserve_export
import tensorflow as tf
from keras import layers
from parity.word_models import (
    INDEX,
    WORDS,
    Recurrent,
    convolved,
    flattened,
    masked_average,
    sequential,
    vectorization,
)
from semserve_export.errors import ExportError


class Named(keras.Model):
    def __init__(self):
        super().__init__()
        self.table = layers.Embedding(WORDS, 4)
        self({"ids": np.ones((1, 3))})

    def call(self, inputs):
        return keras.ops.sum(self.table(inputs["ids"]), axis=1)


def with_positions():
    """A mask, and a vector for each of ten positions: zeros before a text move it."""
    ids = keras.Input((None,))
    table = keras_hub.layers.TokenAndPositionEmbedding(WORDS, 10, 4, mask_zero=True)
    return keras.Model(ids, layers.GlobalAveragePooling1D()(table(ids)))


def bag_of_words():
    words = layers.TextVectorization(output_mode="multi_hot", vocabulary=["the", "cat"])
    return sequential(keras.Input((1,), dtype="string"), words, layers.Dense(2))


def looked_up():
    return sequential(
        keras.Input((10,), dtype="int64"),
        layers.IntegerLookup(vocabulary=[4, 5, 6]),
        layers.Embedding(9, 4),
        layers.GlobalMaxPooling1D(),
    )


def hidden_sigmoid():
    ids = keras.Input((10,))
    pooled = layers.GlobalMaxPooling1D()(layers.Embedding(WORDS, 4)(ids))
    return keras.Model(ids, keras.ops.sigmoid(layers.Dense(3)(pooled)))


def two_texts_in_half_precision():
    ids = [keras.Input((10,), name=name) for name in ("left", "right")]
    table, layer = layers.Embedding(WORDS, 4), layers.GRU(3, dtype="mixed_float16", name="half")
    left, right = (layer(table(each)) for each in ids)
    return keras.Model(ids, layers.Dense(1, dtype="float32")(layers.Concatenate()([left, right])))


def change(texts):
    return tf.strings.regex_replace(texts, "<br />", " ")


def texts_changed_before_they_are_read():
    texts = keras.Input((1,), dtype="string")
    changed = layers.Lambda(change, output_shape=(1,), dtype="string", name="clean")(texts)
    vectors = layers.Embedding(WORDS, 4)(vectorization(10)(layers.Reshape((1,))(changed)))
    return keras.Model(texts, layers.GlobalMaxPooling1D()(vectors))


def texts_read_twice():
    texts, words = keras.Input((1,), dtype="string", name="text"), vectorization(10)
    both = [layers.GlobalMaxPooling1D()(layers.Embedding(WORDS, 4)(words(texts))) for _ in "ab"]
    return keras.Model(texts, layers.Concatenate()(both))


def two_texts_changed_before_they_are_read():
    texts = [keras.Input((1,), dtype="string", name=name) for name in ("left", "right")]
    words, table = vectorization(10), layers.Embedding(WORDS, 4)
    clean = layers.Lambda(change, output_shape=(1,), dtype="string", name="clean")
    sides = [layers.GlobalMaxPooling1D()(table(words(clean(text)))) for text in texts]
    return keras.Model(texts, layers.Dot(1)(sides))


def quantised():
    model = flattened()
    model.layers[-1].quantize("int8")
    return model


def masked_with(*parts):
    return sequential(keras.Input((None,)), layers.Embedding(WORDS, 4, mask_zero=True), *parts)


REFUSED = {
    "the side of padding without its length": (
        masked_average,
        {"tokenizer": INDEX, "padding": "pre"},
        "padded_length: padding says that the sequences were padded, and nothing says to which",
    ),
    "the side of padding, where positions count": (
        with_positions,
        {"tokenizer": INDEX},
        "padding: the model answers otherwise for a text with padding before it",
    ),
    "more tokens than positions": (
        with_positions,
        {"tokenizer": INDEX, "max_length": 12},
        "max_length: the model has vectors for 10 positions",
    ),
    "longer sequences than positions": (
        with_positions,
        {"tokenizer": INDEX, "padding": "pre", "padded_length": 12},
        "padded_length: the model has vectors for 10 positions",
    ),
    "a layer over steps of any number": (
        lambda: masked_with(layers.TimeDistributed(layers.Dense(3)), layers.LSTM(2)),
        {"tokenizer": INDEX},
        "the layer time_distributed",
    ),
    "steps that are written out": (
        lambda: masked_with(layers.LSTM(4, unroll=True)),
        {"tokenizer": INDEX},
        (
            "model: cannot be run on token ids of the shape (1, 22): ValueError: Exception"
            " encountered when calling LSTM.call(). Cannot unroll a RNN"
        ),
    ),
    "half precision in a model of two texts": (
        two_texts_in_half_precision,
        {"tokenizer": INDEX, "padding": "pre"},
        "the layer half computes in float16",
    ),
    "texts that are changed before they are read": (
        texts_changed_before_they_are_read,
        {},
        "clean changes the model's texts before the layer text_vectorization",
    ),
    "two texts that are changed before they are read": (
        two_texts_changed_before_they_are_read,
        {},
        "clean changes the model's texts before the layer text_vectorization",
    ),
    "texts that are read twice": (
        texts_read_twice,
        {},
        "the model uses its input text in another way too than as the token ids that one layer",
    ),
    "a quantised model": (
        quantised,
        {"tokenizer": INDEX, "padding": "pre"},
        "the layer dense",
    ),
    "a bag of words": (
        bag_of_words,
        {},
        "tokenizer: TextVectorization with output_mode='multi_hot' cannot be exported",
    ),
    "a table of numbers": (looked_up, {"tokenizer": INDEX, "padding": "pre"}, "the layer integer_"),
    "a mark of the begin": (
        masked_average,
        {"tokenizer": {"<PAD>": 0, "<START>": 1, "<UNK>": 2, "the": 3}},
        "tokenizer: the word index has '<START>', and a dict does not tell whether",
    ),
    "outputs that may be anything": (
        hidden_sigmoid,
        {"tokenizer": INDEX, "padding": "pre"},
        "task: the model's outputs lie between 0 and 1, and neither its last layer nor its loss",
    ),
    "no tokenizer": (masked_average, {}, "tokenizer: the model takes token ids, and holds nothing"),
    "a tokenizer of another kind": (masked_average, {"tokenizer": 7}, "tokenizer: a int is none"),
    "the side of padding unsaid": (
        flattened,
        {"tokenizer": INDEX},
        "padding: the model answers otherwise for a text with padding before it",
    ),
    "another length": (
        flattened,
        {"tokenizer": INDEX, "padding": "pre", "padded_length": 12},
        "padded_length: sequences of 12 tokens, and the model takes 10",
    ),
    "a longer text": (
        flattened,
        {"tokenizer": INDEX, "padding": "pre", "max_length": 12},
        "max_length: the model takes sequences of 10 tokens",
    ),
    "the other side": (convolved, {"padding": "pre"}, "padding: the TextVectorization layer has"),
    "two tokenizers": (convolved, {"tokenizer": INDEX}, "tokenizer: the model holds its own"),
    "labels of an embedder": (
        masked_average,
        {"tokenizer": INDEX, "task": "embedding", "labels": ["a", "b"]},
        "labels: is for the task classification",
    ),
    "too few labels": (
        flattened,
        {"tokenizer": INDEX, "padding": "pre", "labels": ["a", "b"]},
        "labels: 3 classes need as many labels",
    ),
    "other scores": (
        flattened,
        {"tokenizer": INDEX, "padding": "pre", "scores": "sigmoid"},
        "scores: sigmoid contradicts the model, which ends in softmax",
    ),
    "another task": (
        flattened,
        {"tokenizer": INDEX, "padding": "pre", "task": "embedding"},
        "task: the model ends in softmax, so it gives no embeddings",
    ),
    "a metric of a classifier": (
        flattened,
        {"tokenizer": INDEX, "padding": "pre", "metric": "dot"},
        "metric: is for the task embedding",
    ),
    "pooling of one vector": (
        masked_average,
        {"tokenizer": INDEX, "pooling": "max"},
        "pooling: the model gives one vector a text",
    ),
    "an argument that there is none of": (
        masked_average,
        {"tokeniser": INDEX},
        "tokeniser: export has no such argument",
    ),
    "a model that was never called": (
        Recurrent,
        {"tokenizer": INDEX},
        "the model was never called, so it has no weights",
    ),
    "a model that takes something else": (
        Named,
        {"tokenizer": INDEX},
        "model: cannot be run on token ids of the shape (1, ",
    ),
    "a model that remembers": (
        lambda: sequential(
            keras.Input((None,), batch_size=1),
            layers.Embedding(WORDS, 4, mask_zero=True),
            layers.LSTM(4, stateful=True),
        ),
        {"tokenizer": INDEX},
        "the layer lstm",
    ),
    "a vector a token": (
        lambda: sequential(keras.Input((None,)), layers.Embedding(WORDS, 4, mask_zero=True)),
        {"tokenizer": INDEX},
        "the model's output has 3 axes, and a text needs one vector",
    ),
    "a vector a token of a text": (
        lambda: sequential(
            keras.Input((1,), dtype="string"), vectorization(10), layers.Embedding(WORDS, 4)
        ),
        {},
        "the model's output has 3 axes, and a text needs one vector",
    ),
    "more words than rows": (
        lambda: sequential(
            keras.Input((None,)),
            layers.Embedding(9, 4, mask_zero=True),
            layers.GlobalAveragePooling1D(),
        ),
        {"tokenizer": INDEX},
        "tokenizer: the word index gives ids up to",
    ),
}


@pytest.mark.filterwarnings("ignore:.*does not support masking")
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("case", REFUSED)
def test_what_contradicts_the_model_or_cannot_be_known_is_refused_in_one_line(tmp_path, case):
    make, said, message = REFUSED[case]
    with pytest.raises(ExportError) as raised:
        semserve_export.export(make(), tmp_path / "mine", **said)
    assert str(raised.value).startswith(message)
    assert 1 == len(str(raised.value).splitlines())
    assert not (tmp_path / "mine").exists()
