"""The exported models themselves, against figures and code that the export has no part in."""

import json
from pathlib import Path

import numpy as np
import pytest
from parity.reference_bert import ReferenceBert
from parity.reference_encoders import ReferenceEncoder
from parity.reference_mpnet import ReferenceMPNet
from safetensors.numpy import load_file
from semserve_export.bundle.layout import read_manifest
from semserve_export.bundle.proof import golden_checks, read_bundle
from semserve_export.bundle.tolerance import onnx_run
from semserve_export.data.batching import EncodedPairs
from semserve_export.data.pairs import read_pairs
from semserve_export.distillation.temperature_scaling import bins_of, expected_calibration_error
from semserve_export.models.delta_adapter import TENSORS, read_record
from semserve_export.pipeline.verify import verify_bundle
from semserve_export.recipes import (
    ALL_MINILM,
    MPNET_BASE_V2,
    NLI_BERT_TINY,
    NLI_MINILM,
    SPLADE_TINY,
)
from semserve_export.tokenizers.bert_wordpiece import encode, pad
from tokenizers import Tokenizer

ROOT = Path(__file__).parents[2]
SNLI_DEV = ROOT.parent / "shared" / "data" / "nli" / "snli_dev.tsv.gz"
TEXTS = (
    "hello world",
    "The cat sits on the mat.",
    "A cat is sitting on a mat.",
    "Stock prices fell sharply on Monday.",
    "Le café est fermé aujourd'hui, naturellement!",
    (
        "A much longer sentence, in which the author wanders from one subject to the next without"
        " any hurry, and arrives at last where nobody, least of all the author, had expected to."
    ),
)


class Bundle:
    """An exported model: texts or pairs in, rows out."""

    def __init__(self, directory):
        self.directory = directory
        self.manifest = read_manifest(directory)
        self.tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        self.run = onnx_run(directory / "model.onnx")

    def encode(self, texts):
        return encode(self.tokenizer, texts, self.manifest["max_sequence_length"])

    def rows(self, texts):
        return self.run(pad(self.encode(texts)))


def bundle(name):
    directory = ROOT / "models" / name
    if not (directory / "bundle.json").is_file():
        pytest.skip(f"models/{name} is not exported: make models")
    return Bundle(directory)


@pytest.fixture(scope="module")
def embedder():
    return bundle("minilm-l6-v2")


@pytest.fixture(scope="module")
def classifier():
    return bundle("nli-minilm")


@pytest.fixture(scope="module")
def weights():
    directory = ROOT / ".cache" / "weights" / f"{ALL_MINILM.name}-{ALL_MINILM.version}"
    if not directory.is_dir():
        pytest.skip(f"the weights of {ALL_MINILM} are not in .cache/weights: make models")
    return directory


def test_hello_world_embeds_to_the_known_numbers(embedder):
    (row,) = embedder.rows(["hello world"])
    expected = [-0.034478, 0.03102, 0.00673, 0.02611, -0.039362]
    np.testing.assert_allclose(row[:5], expected, rtol=0, atol=1e-5)
    assert 384 == len(row) == embedder.manifest["dimensions"]


def test_embeddings_are_what_the_weights_mean_without_keras(embedder, weights):
    reference = ReferenceBert.read(weights, heads=12)
    expected = [reference.embed(list(e.token_ids)) for e in embedder.encode(TEXTS)]
    np.testing.assert_allclose(embedder.rows(TEXTS), expected, rtol=0, atol=1e-5)


def test_like_sentences_are_near_and_unlike_ones_far(embedder):
    rows = embedder.rows(TEXTS)
    assert rows[1] @ rows[2] > 0.9
    assert rows[1] @ rows[3] < 0.2


def test_the_tokenizer_is_the_one_that_the_weights_came_with(embedder, weights):
    expected = Tokenizer.from_file(str(weights / "tokenizer.json"))
    expected.no_padding()
    expected.enable_truncation(embedder.manifest["max_sequence_length"])
    golden = json.loads((embedder.directory / "golden.json").read_text(encoding="utf-8"))
    for case in golden["cases"]:
        if "[SEP]" not in case["text"]:  # theirs takes it for the separator; ours must not
            assert expected.encode(case["text"]).ids == case["token_ids"], case["text"]


@pytest.mark.parametrize("name", ["minilm-l6-v2", "nli-minilm", "nli-bert-tiny"])
def test_golden_answers_of_every_variant_hold(name):
    exported = bundle(name)
    checks = list(golden_checks(read_bundle(exported.directory)))
    assert 1 + 2 * len(exported.manifest["variants"]) == len(checks)
    assert all(check.holds for check in checks), checks


# The others take half a minute of processor time; each export measures its variants so too.
@pytest.mark.parametrize(
    "name",
    [
        "nli-bert-tiny",
        pytest.param("minilm-l6-v2", marks=pytest.mark.slow),
        pytest.param("nli-minilm", marks=pytest.mark.slow),
    ],
)
def test_every_variant_is_as_near_the_portable_graph_as_is_demanded(name):
    exported = bundle(name)
    checks = list(verify_bundle(exported.directory, None))
    assert {"fused", "int8"} <= {check.name.split(":")[0] for check in checks}
    assert all(check.holds for check in checks), checks


def test_pairs_get_sensible_labels(classifier):
    labels = classifier.manifest["labels"]
    pairs = {
        ("It is raining", "It is sunny"): "contradiction",
        ("A dog runs across a green field.", "An animal is moving."): "entailment",
        ("Two women are eating lunch in a park.", "Nobody is eating."): "contradiction",
        ("A man is playing a guitar on stage.", "A person makes music."): "entailment",
        ("A girl reads a book by the window.", "The book is about pirates."): "neutral",
    }
    logits = classifier.rows(list(pairs))
    assert list(pairs.values()) == [labels[place] for place in logits.argmax(axis=1)]


@pytest.mark.parametrize(
    ("recipe", "accuracy", "error"), [(NLI_MINILM, 0.86, 0.03), (NLI_BERT_TINY, 0.81, 0.03)]
)
def test_a_kept_adapter_is_small_and_its_record_tells_good_figures(recipe, accuracy, error):
    record = read_record(recipe.adapter)
    assert record["recipe"] == recipe.spec.name
    assert (recipe.adapter / TENSORS).stat().st_size < 20e6
    assert record["figures"]["accuracy"] > accuracy
    assert record["figures"]["expected_calibration_error"] <= error


@pytest.mark.parametrize("recipe", [NLI_MINILM, NLI_BERT_TINY])
def test_a_bundle_is_as_right_and_as_honest_as_its_adapters_record_says(recipe):
    """On every twentieth of the held-out pairs: five standard errors are allowed.

    So few pairs make the calibration error of an honest model about 0.03 larger.
    """
    exported, record = bundle(recipe.spec.name), read_record(recipe.adapter)
    if not SNLI_DEV.is_file():
        pytest.skip("SNLI's development set is not beside this checkout")
    pairs = read_pairs([SNLI_DEV], recipe.spec.labels).pairs[::20]
    encoded = EncodedPairs.of(exported.tokenizer, pairs, 96)
    logits = np.zeros((len(pairs), len(recipe.spec.labels)), np.float32)
    for rows in encoded.by_length(16):
        logits[rows] = exported.run(encoded.inputs(rows))
    accuracy = record["figures"]["accuracy"]
    error = (accuracy * (1 - accuracy) / len(pairs)) ** 0.5
    right = np.mean(logits.argmax(axis=1) == encoded.labels)
    assert accuracy == pytest.approx(right, abs=5 * error)
    measured = expected_calibration_error(bins_of(logits, encoded.labels))
    assert measured <= record["figures"]["expected_calibration_error"] + 0.05


@pytest.mark.parametrize("variant", ["portable", "fused"])
def test_splade_tiny_weighs_words_as_its_tensors_mean_without_keras(variant):
    exported, package = bundle("splade-tiny"), SPLADE_TINY.weights
    directory = ROOT / ".cache" / "weights" / f"{package.name}-{package.version}"
    if not directory.is_dir():
        pytest.skip(f"the weights of {package} are not in .cache/weights: make models MODELS=all")
    tensors = {
        name.removeprefix("bert.").replace(".gamma", ".weight").replace(".beta", ".bias"): value
        for name, value in load_file(directory / "model.safetensors").items()
    }
    reference = ReferenceEncoder("bert", tensors, heads=2)
    encodings = exported.encode(TEXTS)
    expected = [reference.sparse(list(e.token_ids), [0] * len(e)) for e in encodings]
    run = onnx_run(exported.directory / exported.manifest["variants"][variant]["file"])
    np.testing.assert_allclose(run(pad(encodings)), expected, rtol=0, atol=1e-5)
    words = exported.tokenizer.get_vocab(with_added_tokens=False)
    heaviest = np.argsort(-np.array(expected[3]))[:8]
    assert words["stock"] in heaviest, "of falling stock prices"


def test_mpnet_embeds_as_its_weights_mean_without_keras():
    exported, package = bundle("mpnet-base-v2"), MPNET_BASE_V2.weights
    directory = ROOT / ".cache" / "weights" / f"{package.name}-{package.version}"
    if not directory.is_dir():
        pytest.skip(f"the weights of {package} are not in .cache/weights: make models MODELS=all")
    reference = ReferenceMPNet.read(directory, heads=12)
    expected = [reference.embed(list(e.token_ids)) for e in exported.encode(TEXTS)]
    rows = exported.rows(TEXTS)
    np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-5)
    assert 768 == rows.shape[1] == exported.manifest["dimensions"]
    assert rows[1] @ rows[2] > 0.9
    assert rows[1] @ rows[3] < 0.2
