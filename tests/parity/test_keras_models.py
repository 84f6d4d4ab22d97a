"""Any Keras model of token ids or words: the server answers as the model itself does."""

import keras
import numpy as np
import pytest
import semserve_export
import tensorflow as tf
from keras import layers
from parity.serving import serving
from parity.word_models import (
    INDEX,
    LENGTH,
    WORDS,
    convolved,
    flattened,
    masked_average,
    one_by_one,
    pre_padded,
    recurrent,
    scramble,
    sequential,
    vectorization,
)
from semserve import Client
from semserve_export.errors import ExportError
from semserve_export.keras_models.head import Loss, apply_scores, read_head

TEXTS = (
    "the cat",
    "A Dog didn't bark!",
    "film",
    "quixotic xylophones",
    "we saw the cat on the mat, the dog in the house, and a bad film tonight, really bad",
    "bad, BAD film \U0001f431 \u00a0 caf\u00e9 the\tcat",
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Export each model; gives the directory, the reports, and what asks Keras, by their names."""
    directory = tmp_path_factory.mktemp("models")
    average, flat, conv, lstm = masked_average(), flattened(), convolved(), recurrent()
    words = vectorization()
    given = {
        "average": (average, {"tokenizer": words}, one_by_one(average, words)),
        "flat": (
            flat,
            {"tokenizer": dict(INDEX.word_index), "padding": "pre", "labels": ["x", "y", "z"]},
            lambda texts: flat.predict(pre_padded(texts), verbose=0),
        ),
        "conv": (
            conv,
            {},
            lambda texts: conv.predict(tf.constant([[t] for t in texts]), verbose=0),
        ),
        "lstm": (
            lstm,
            {"tokenizer": INDEX, "padded_length": LENGTH, "padding": "pre", "normalize": True},
            lambda texts: unit(lstm.predict(pre_padded(texts), verbose=0)),
        ),
    }
    reports = {
        name: semserve_export.export(model, directory / name, **said)
        for name, (model, said, _) in given.items()
    }
    return directory, reports, {name: ask for name, (_, _, ask) in given.items()}


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def client(exported):
    directory, _, _ = exported
    with serving(directory) as address, Client(address) as client:
        yield client


def answers(client, name, texts):
    if name in {"average", "lstm"}:
        return client.embed(texts, model=name).vectors
    return client.classify(list(texts), model=name).scores


@pytest.mark.parametrize("name", ["average", "flat", "conv", "lstm"])
def test_the_server_answers_as_keras_does_alone_and_beside_longer_texts(exported, client, name):
    _, _, asks = exported
    short = [text for text in TEXTS if len(text.split()) <= LENGTH]
    expected = asks[name](short)
    assert np.abs(expected[0] - expected[1]).max() > 1e-3, "the texts must differ"
    alone = np.concatenate([answers(client, name, [text]) for text in short])
    together = answers(client, name, [*short, TEXTS[4]])[:-1]
    np.testing.assert_allclose(alone, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(together, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["average", "flat", "conv", "lstm"])
def test_a_long_text_is_cut_where_the_training_cut_it(exported, client, name):
    _, _, asks = exported
    expected = asks[name]([TEXTS[4]])
    np.testing.assert_allclose(answers(client, name, [TEXTS[4]]), expected, rtol=0, atol=1e-5)


def test_the_report_says_what_was_understood_and_who_said_it(exported):
    _, reports, _ = exported
    told = {
        (name, fact): (reports[name].fact(fact).value, reports[name].fact(fact).origin)
        for name, fact in (
            *(("average", "task"), ("average", "metric"), ("average", "padding")),
            *(("flat", "labels"), ("flat", "scores"), ("flat", "padding")),
            *(("flat", "a long text loses"), ("conv", "tokenizer"), ("conv", "scores")),
            ("lstm", "length of a vector"),
        )
    }
    assert {
        ("average", "task"): ("embedding", "found"),
        ("average", "metric"): ("cosine", "assumed"),
        ("average", "padding"): ("of any length; it changes no answer", "found"),
        ("flat", "labels"): ("x, y, z", "stated"),
        ("flat", "scores"): ("softmax", "found"),
        ("flat", "padding"): ("pre, to 10 tokens", "stated"),
        ("flat", "a long text loses"): ("its start, past 10 tokens", "assumed"),
        ("conv", "tokenizer"): ("the TextVectorization layer", "found"),
        ("conv", "scores"): ("sigmoid", "found"),
        ("lstm", "length of a vector"): ("1", "stated"),
    } == told
    assert all(measure.value <= measure.bound for measure in reports["lstm"].measures)


def test_the_manifest_says_which_end_of_a_long_text_is_cut(exported):
    _, reports, _ = exported
    assert ["end", "start"] == [reports[name].manifest["truncation"] for name in ("conv", "flat")]


def test_one_output_makes_a_score_and_keeps_its_sigmoid(tmp_path):
    model = sequential(
        keras.Input((None,)),
        layers.Embedding(WORDS, 4, mask_zero=True),
        layers.GlobalAveragePooling1D(),
        layers.Dense(1, activation="sigmoid"),
    )
    report = semserve_export.export(model, tmp_path / "score", tokenizer=vectorization())
    assert ("score", "sigmoid") == (report.manifest["task"], report.manifest["scores"])


class Scaled(layers.Dense):
    """Its activation is not the last thing that it does."""

    def call(self, inputs):
        return keras.ops.softmax(self.activation(keras.ops.matmul(inputs, self.kernel)) * 3)


def test_the_activation_of_a_last_layer_is_taken_off_with_lora_and_left_on_a_class_of_ones_own():
    model, own = flattened(), sequential(keras.Input((4,)), Scaled(3, activation="softmax"))
    model.layers[-1].enable_lora(2)
    scramble(model)
    ids = np.arange(2 * LENGTH).reshape(2, LENGTH)
    rows = model.predict(ids, verbose=0)
    head = read_head(model, rows, Loss())
    logits = head.body.predict(ids, verbose=0)
    np.testing.assert_allclose(apply_scores(logits, head.scores), rows, rtol=0, atol=1e-6)
    head = read_head(own, own.predict(np.eye(4), verbose=0), Loss())
    assert ("softmax", None) == (head.scores, head.body)


@pytest.mark.filterwarnings("ignore:.*does not support masking")
def test_a_mask_that_a_pooling_layer_drops_is_noticed(tmp_path):
    """GlobalMaxPooling1D has no masking: zeros after a text change its maximum."""
    model = sequential(
        keras.Input((None,)),
        layers.Embedding(WORDS, 8, mask_zero=True),
        layers.GlobalMaxPooling1D(),
    )
    with pytest.raises(ExportError, match="padded_length: the model's answers depend on how many"):
        semserve_export.export(model, tmp_path / "max", tokenizer=vectorization())
