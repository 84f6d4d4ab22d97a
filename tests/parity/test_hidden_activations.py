"""Models whose last layer does not tell their activation: the server applies it exactly once."""

import keras
import numpy as np
import pytest
import semserve_export
from keras import layers
from parity.serving import Stubs, serving
from semserve import Client
from semserve_export.errors import ExportError
from semserve_export.keras_models.head import Loss

WORDS = {
    word: place for place, word in enumerate(("the", "a", "cat", "dog", "film", "bad", "good"), 1)
}
LENGTH = 5
PADDED = {"padding": "post", "padded_length": LENGTH}
TEXTS = ("the good film", "a bad bad dog", "cat")


def ids_of(texts):
    rows = [[WORDS[word] for word in text.split()] for text in texts]
    return keras.utils.pad_sequences(rows, maxlen=LENGTH, padding="post")


def vectors():
    ids = keras.Input((LENGTH,))
    return ids, layers.Flatten()(layers.Embedding(len(WORDS) + 1, 4)(ids))


class OfItsOwn(keras.Model):
    """A class of its own: no graph tells its last layer."""

    def __init__(self, outputs, activation="sigmoid"):
        super().__init__()
        self.table = layers.Embedding(len(WORDS) + 1, 4)
        self.head = layers.Dense(outputs, activation=activation)

    def call(self, ids):
        return self.head(keras.ops.mean(self.table(ids), axis=1))


def of_its_own(outputs, loss=None, activation="sigmoid"):
    model = OfItsOwn(outputs, activation)
    model(np.ones((1, LENGTH), np.int32))
    if loss:
        model.compile(loss=loss)
    return scrambled(model)


def scrambled(model):
    random = np.random.default_rng(3)
    for variable in model.trainable_variables:
        variable.assign(random.normal(0, 0.5, variable.shape))
    return model


def cast_after_softmax():
    """What the guide of mixed precision does: the outputs are cast to float32 at the end."""
    ids, taken = vectors()
    outputs = layers.Dense(3, activation="softmax")(taken)
    outputs = layers.Activation("linear", dtype="float32")(outputs)
    model = keras.Model(ids, outputs)
    model.compile(loss="sparse_categorical_crossentropy")
    return scrambled(model)


def softmax_by_an_operation():
    ids, taken = vectors()
    return scrambled(keras.Model(ids, keras.ops.softmax(layers.Dense(3)(taken))))


GIVEN = {
    "cast": cast_after_softmax,
    "operation": softmax_by_an_operation,
    "labels": lambda: of_its_own(3, "binary_crossentropy"),
    "score": lambda: of_its_own(1, keras.losses.binary_crossentropy),
}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models")
    expected = {}
    for name, make in GIVEN.items():
        model = make()
        semserve_export.export(model, directory / name, tokenizer=WORDS, **PADDED)
        expected[name] = model.predict(ids_of(TEXTS), verbose=0)
    with serving(directory) as address:
        yield address, expected


@pytest.mark.parametrize("name", ["cast", "operation", "labels"])
def test_the_scores_of_labels_are_those_of_predict(served, name):
    address, expected = served
    with Client(address) as client:
        scores = client.classify(list(TEXTS), model=name).scores
    np.testing.assert_allclose(scores, expected[name], rtol=0, atol=1e-5)


def test_the_score_of_one_output_is_that_of_predict(served):
    address, expected = served
    with Stubs(address) as stubs:
        scores = stubs.score(TEXTS, "score")
    np.testing.assert_allclose(scores, expected["score"][:, 0], rtol=0, atol=1e-5)


def test_outputs_between_0_and_1_that_nothing_explains_are_asked_about(tmp_path):
    with pytest.raises(ExportError, match="scores: the model's outputs lie between 0 and 1"):
        semserve_export.export(
            of_its_own(3),
            tmp_path / "mine",
            tokenizer=WORDS,
            **PADDED,
            labels=["x", "y", "z"],
        )


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("binary_crossentropy", Loss("binary_crossentropy")),
        (
            keras.losses.BinaryCrossentropy(from_logits=True),
            Loss("binary_crossentropy", from_logits=True),
        ),
        (keras.losses.sparse_categorical_crossentropy, Loss("sparse_categorical_crossentropy")),
        (["categorical_crossentropy"], Loss("categorical_crossentropy")),
        (None, Loss()),
    ],
)
def test_a_loss_is_read_in_every_form_that_compile_takes(loss, expected):
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    model.compile(loss=loss)
    assert expected == Loss.of_model(model)
