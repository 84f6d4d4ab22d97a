"""Any Keras model of token ids or words: the server answers as the model itself does."""

import keras
import numpy as np
import pytest
import semserve_export
import tensorflow as tf
from keras import layers
from keras.src.legacy.preprocessing.text import Tokenizer as KerasTokenizer
from parity.serving import serving
from semserve import Client
from semserve_export.errors import ExportError

TRAINED_ON = (
    "the cat sat on the mat and the dog saw it",
    "a dog didn't bark at the cat in the house tonight",
    "we saw a very good film tonight",
    "this film was bad, really bad, we left the house",
)
TEXTS = (
    "the cat",
    "A Dog didn't bark!",
    "film",
    "quixotic xylophones",
    "we saw the cat on the mat, the dog in the house, and a bad film tonight, really bad",
    "bad, BAD film \U0001f431 \u00a0 caf\u00e9 the\tcat",
)
LENGTH = 10  # shorter than the longest text
INDEX = KerasTokenizer()
INDEX.fit_on_texts(TRAINED_ON)
WORDS = len(INDEX.word_index) + 2


def vectorization(length=None):
    layer = layers.TextVectorization(output_sequence_length=length)
    layer.adapt(TRAINED_ON)
    return layer


def sequential(*parts):
    """Build a model, with weights so large that every mistake shows."""
    model = keras.Sequential(parts)
    return scramble(model)


def scramble(model):
    random = np.random.default_rng(3)
    for variable in model.trainable_variables + model.non_trainable_variables:
        if variable.dtype == "float32":
            variable.assign(random.normal(0, 0.5, variable.shape))
    return model


def masked_average():
    """Tutorial 4 (b): a frozen Embedding with a mask, and the average."""
    table = layers.Embedding(WORDS, 8, mask_zero=True, trainable=False)
    return sequential(keras.Input((None,)), table, layers.GlobalAveragePooling1D())


def flattened():
    return sequential(
        keras.Input((LENGTH,)),
        layers.Embedding(WORDS, 4),
        layers.Flatten(),
        layers.Dropout(0.5),
        layers.Dense(3, activation="softmax"),
    )


def convolved():
    """A Functional model of texts, with the vectorisation inside and no mask."""
    texts = keras.Input((1,), dtype="string")
    ids = vectorization(LENGTH)(texts)
    vectors = layers.Embedding(WORDS, 4)(ids)
    found = layers.Conv1D(5, 3, activation="relu")(vectors)
    pooled = layers.GlobalMaxPooling1D()(found)
    return scramble(keras.Model(texts, layers.Dense(2, activation="sigmoid")(pooled)))


class Recurrent(keras.Model):
    """A class of its own, without a mask."""

    def __init__(self):
        super().__init__()
        self.table = layers.Embedding(WORDS, 4)
        self.lstm = layers.LSTM(5)

    def call(self, ids):
        return keras.ops.tanh(self.lstm(self.table(ids)) * 3)


def recurrent():
    model = Recurrent()
    model(np.ones((1, LENGTH), np.int32))
    return scramble(model)


def pre_padded(texts):
    rows = INDEX.texts_to_sequences(texts)
    return keras.utils.pad_sequences(rows, maxlen=LENGTH)


def one_by_one(model, read):
    return lambda texts: np.concatenate([np.asarray(model(read([text]))) for text in texts])


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
        {"tokenizer": INDEX, "pooling": "mean"},
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
