"""A Keras model that contradicts what is said of it, or leaves something open: one line tells."""

import keras
import numpy as np
import pytest
import semserve_export
from keras import layers
from parity.word_models import (
    INDEX,
    WORDS,
    Recurrent,
    convolved,
    flattened,
    masked_average,
    sequential,
)
from semserve_export.errors import ExportError


class Named(keras.Model):
    def __init__(self):
        super().__init__()
        self.table = layers.Embedding(WORDS, 4)
        self({"ids": np.ones((1, 3))})

    def call(self, inputs):
        return keras.ops.sum(self.table(inputs["ids"]), axis=1)


REFUSED = {
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


@pytest.mark.parametrize("case", REFUSED)
def test_what_contradicts_the_model_or_cannot_be_known_is_refused_in_one_line(tmp_path, case):
    make, said, message = REFUSED[case]
    with pytest.raises(ExportError) as raised:
        semserve_export.export(make(), tmp_path / "mine", **said)
    assert str(raised.value).startswith(message)
    assert 1 == len(str(raised.value).splitlines())
    assert not (tmp_path / "mine").exists()
