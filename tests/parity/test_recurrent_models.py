"""GRU and Bidirectional, and the layer that reads texts inside another model: as Keras answers."""

import keras
import numpy as np
import pytest
import semserve_export
import tensorflow as tf
from keras import layers
from parity.serving import serving
from parity.word_models import LENGTH, WORDS, one_by_one, scramble, sequential, vectorization
from semserve import Client

TEXTS = (
    "the cat",
    "A Dog didn't bark!",
    "quixotic xylophones",
    "we saw the cat on the mat, the dog in the house, and a bad film tonight, really bad",
)


class Reviews(keras.Model):
    """A class of its own that takes texts."""

    def __init__(self):
        super().__init__()
        self.words = vectorization(LENGTH)
        self.table = layers.Embedding(WORDS, 4)
        self.back = layers.GRU(5, go_backwards=True)
        self.head = layers.Dense(3, activation="softmax")

    def call(self, texts):
        return self.head(self.back(self.table(self.words(texts))))


def reviews():
    model = Reviews()
    model(tf.constant([["the cat"]]))
    return scramble(model)


def both_ways():
    """A mask all the way: sequences of any length."""
    return sequential(
        keras.Input((None,)),
        layers.Embedding(WORDS, 4, mask_zero=True),
        layers.Bidirectional(layers.LSTM(3), backward_layer=layers.GRU(3, go_backwards=True)),
    )


def nested():
    """Preprocessing as a model of its own; the average of no word is NaN in Keras."""
    texts = keras.Input((1,), dtype="string")
    reading = keras.Sequential([keras.Input((1,), dtype="string"), vectorization(LENGTH)])
    vectors = layers.Embedding(WORDS, 4, mask_zero=True)(reading(texts))
    states = layers.Bidirectional(layers.GRU(3, return_sequences=True), merge_mode="mul")(vectors)
    pooled = layers.GlobalAveragePooling1D()(states)
    return scramble(keras.Model(texts, keras.ops.softmax(layers.Dense(2)(pooled))))


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models")
    words, free = vectorization(), both_ways()
    given = {
        "both-ways": (free, {"tokenizer": words}, one_by_one(free, words)),
        "reviews": (reviews(), {}, None),
        "nested": (nested(), {}, None),
    }
    for name, (model, output, _) in given.items():
        semserve_export.export(model, directory / name, **output)
    expected = {
        name: ask(TEXTS)
        if ask
        else model.predict(tf.constant([[text] for text in TEXTS]), verbose=0)
        for name, (model, _, ask) in given.items()
    }
    with serving(directory) as address, Client(address) as client:
        yield client, expected


@pytest.mark.parametrize("name", ["both-ways", "reviews", "nested"])
def test_recurrent_layers_are_served_as_keras_computes_them(served, name):
    client, expected = served

    def ask(texts):
        if name == "both-ways":
            return client.embed(texts, model=name).vectors
        return client.classify(texts, model=name).scores

    alone = np.concatenate([ask([text]) for text in TEXTS])
    for rows in (alone, ask(list(TEXTS))):
        np.testing.assert_allclose(rows, expected[name], rtol=0, atol=1e-5)
