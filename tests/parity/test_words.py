"""Word models: Keras, ONNX Runtime and the server say the same, whatever stands beside a text."""

import shutil

import keras
import numpy as np
import pytest
from parity.conftest import made_once
from parity.serving import serving
from semserve import Client
from semserve_export.bundle.tolerance import TOLERANCE, keras_run, largest_difference, onnx_run
from semserve_export.model_spec import ModelSpec
from semserve_export.pipeline.export import comparison_batches, export_model
from semserve_export.tokenizers.bert_wordpiece import encode, pad
from semserve_export.tokenizers.word_tokenizer import build_word_tokenizer
from semserve_export.word_vectors.glove import Glove, weighted_table, word_table
from semserve_export.word_vectors.word_model import average_encoder, lstm_encoder
from semserve_export.word_vectors.words import load_encoder

WORDS = (
    "the",
    ",",
    ".",
    "of",
    "a",
    "in",
    "'s",
    "it",
    "is",
    "cat",
    "dog",
    "house",
    "sat",
    "mat",
    "on",
)
GLOVE = Glove(WORDS, np.random.default_rng(5).normal(0, 1, (len(WORDS), 8)).astype(np.float32))
KEPT = len(WORDS) - 2
LENGTH = 40
TEXTS = (
    "The cat sat on the mat.",
    "the dog, it's in a house",
    "   ",  # blank: [END] alone
    "quixotic xylophones",  # only unknown words
    "cat",
    "the cat sat on a mat in the house of the dog, " * 3,
)


def load(kind):
    """Make a kind, with the same random numbers each time."""
    keras.utils.set_random_seed(5)  # the same weights each time, as a bundle is exported once
    metric = "manhattan" if kind == "manhattan" else "cosine"
    if kind == "average":
        encoder = average_encoder(weighted_table(GLOVE, KEPT))
    else:
        encoder = lstm_encoder(word_table(GLOVE, KEPT), 6, normalize=metric == "cosine")
    spec = ModelSpec(
        name=f"tiny-{kind}",
        description="random numbers",
        task="embedding",
        max_sequence_length=LENGTH,
        metric=metric,
    )
    tokenizer = build_word_tokenizer(GLOVE.words[:KEPT])
    return load_encoder(spec, encoder, tokenizer, source="random numbers", licence="None needed.\n")


def exported_words(factory, kind):
    """Return the bundle of a kind, which is exported once for all test processes."""
    return made_once(
        factory,
        f"words-{kind}",
        lambda place: export_model(load(kind), place, lambda _: None, ("fused",)),
    )


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The three kinds by name, exported into one directory."""
    directory = tmp_path_factory.mktemp("models")
    loaded = {kind: load(kind) for kind in ("average", "lstm", "manhattan")}
    for kind, model in loaded.items():
        shutil.copytree(exported_words(tmp_path_factory, kind), directory / model.spec.name)
    return directory, loaded


@pytest.fixture(params=["average", "lstm", "manhattan"])
def word_model(request, models):
    directory, loaded = models
    model = loaded[request.param]
    return model, onnx_run(directory / model.spec.name / "model.onnx")


def test_onnx_runtime_agrees_with_keras_on_padded_batches_of_many_shapes(word_model):
    model, run = word_model
    batches = comparison_batches(model)
    batches.append(pad(encode(model.tokenizer, TEXTS, LENGTH)))
    reference = keras_run(model.keras_model, model.spec.inputs)
    assert largest_difference(reference, run, batches) <= TOLERANCE


def test_neither_neighbours_nor_padding_change_an_answer(word_model):
    model, run = word_model
    encodings = encode(model.tokenizer, TEXTS, LENGTH)
    alone = np.concatenate([run(pad([encoding])) for encoding in encodings])
    assert np.abs(alone[0] - alone[1]).max() > 100 * TOLERANCE, "the texts must differ"
    for length in (None, LENGTH, 3 * LENGTH):
        np.testing.assert_allclose(run(pad(encodings, length)), alone, rtol=0, atol=TOLERANCE)
    scrawled = pad(encodings, 3 * LENGTH)
    scrawled["token_ids"][scrawled["padding_mask"] == 0] = 7
    np.testing.assert_allclose(run(scrawled), alone, rtol=0, atol=TOLERANCE)


def test_the_average_is_what_arithmetic_says(models):
    directory, loaded = models
    table = weighted_table(GLOVE, KEPT)
    encodings = encode(loaded["average"].tokenizer, TEXTS, LENGTH)
    sums = np.array([table[list(one.token_ids)].sum(axis=0) for one in encodings])
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    expected = np.divide(sums, lengths, out=np.zeros_like(sums), where=lengths > 0)
    rows = onnx_run(directory / "tiny-average" / "model.onnx")(pad(encodings))
    np.testing.assert_allclose(rows, expected, rtol=0, atol=TOLERANCE)


def test_the_lstm_is_what_its_equations_say(models):
    """As Hochreiter and Schmidhuber's with a forget gate: input, forget, candidate, output."""
    directory, loaded = models
    model = loaded["manhattan"]
    table, kernel, recurrent, bias = model.keras_model.get_weights()
    encodings = encode(model.tokenizer, TEXTS, LENGTH)
    expected = []
    for encoding in encodings:
        state = memory = np.zeros(6, np.float32)
        for word in encoding.token_ids:
            gates = table[word] @ kernel + state @ recurrent + bias
            enter, forget, candidate, leave = np.split(gates, 4)
            memory = sigmoid(forget) * memory + sigmoid(enter) * np.tanh(candidate)
            state = sigmoid(leave) * np.tanh(memory)
        expected.append(state)
    rows = onnx_run(directory / "tiny-manhattan" / "model.onnx")(pad(encodings))
    np.testing.assert_allclose(rows, expected, rtol=0, atol=TOLERANCE)


def test_the_server_says_what_keras_says(models):
    directory, loaded = models
    with serving(directory) as address, Client(address) as client:
        for model in loaded.values():
            reference = keras_run(model.keras_model, model.spec.inputs)
            encodings = encode(model.tokenizer, TEXTS, LENGTH)
            expected = np.concatenate([reference(pad([encoding])) for encoding in encodings])
            together = client.embed(TEXTS, model=model.spec.name).vectors
            alone = [client.embed([text], model=model.spec.name).vectors[0] for text in TEXTS]
            np.testing.assert_allclose(together, expected, rtol=0, atol=TOLERANCE)
            np.testing.assert_allclose(alone, expected, rtol=0, atol=TOLERANCE)
        pairs = [("the cat", "the cat"), ("the cat", "a dog in a house")]
        vectors = client.embed([t for pair in pairs for t in pair], model="tiny-manhattan").vectors
        scores = client.compare(pairs, model="tiny-manhattan").scores
        expected = np.exp(-np.abs(vectors[::2] - vectors[1::2]).sum(axis=1))
        np.testing.assert_allclose(scores, expected, rtol=0, atol=TOLERANCE)
        assert 1 == scores[0] > scores[1] > 0


def test_a_word_model_has_no_faster_graphs_and_no_segments(models):
    directory, _ = models
    for bundle in directory.iterdir():
        assert not list(bundle.glob("model.*.onnx"))
        assert '"segment_ids"' not in (bundle / "bundle.json").read_text(encoding="utf-8")


def sigmoid(x):
    return 1 / (1 + np.exp(-x))
