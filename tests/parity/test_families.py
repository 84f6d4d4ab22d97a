"""A user's model of every family, with KerasHub's own preprocessor, is exported and holds."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from parity.families import FAMILIES, LENGTH, make_classifier
from rich.console import Console
from semserve_export import export
from semserve_export.bundle.layout import read_manifest
from semserve_export.bundle.tolerance import onnx_run
from semserve_export.cli.export_commands import verify
from semserve_export.errors import BundleError
from semserve_export.options import ModelOptions, options_of_bundle
from semserve_export.pipeline.custom_model import load_custom_model
from semserve_export.pipeline.export import export_model
from semserve_export.tokenizers.bert_wordpiece import encode, pad
from semserve_export.tokenizers.parity import FILE
from tokenizers import Tokenizer

# Keras saves variables through an __array__ that numpy finds old-fashioned.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    # KerasHub opens vocabulary.spm and leaves it to the collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.timeout(600),  # an export takes ten seconds, and minutes on a crowded machine
]

TEXTS = ["the cat sat", "Hello, world!  Is it 12 o'clock…", "ein Boot – café 今日 🎉", "boat " * 60]
OTHERS = ["the boat sat", "no", "hello <mask> [SEP] world", "a b c"]
# Random weights tell labels so narrowly apart that int8 may rightly be refused: see
# `test_family_variants`, which has the variants of every family. DeBERTa's attention is relative,
# which the faster graphs do not know.
VARIANTS = {"XLMRoberta": ("fused", "fp16"), "DebertaV3": ("fused", "fp16")}
LABELS = ("entailment", "neutral", "contradiction")


def train_a_little(classifier):
    """Fit on strings for a step, so that KerasHub's own preprocessor made what it has learnt."""
    classifier.compile(
        optimizer=keras.optimizers.SGD(1e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    pairs, labels = (TEXTS[:3], OTHERS[:3]), np.array([0, 1, 2])
    classifier.fit(x=pairs, y=labels, batch_size=3, shuffle=False, verbose=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_strangers_classifier_answers_as_keras_does(family, tmp_path):
    # ALBERT goes through one layer twice.
    classifier = make_classifier(family, layers=2 if family == "Albert" else 1)
    saved = tmp_path / "mine"
    classifier.save_to_preset(str(saved))
    model = load_custom_model(ModelOptions(str(saved), labels=LABELS, pair=True))
    assert (LENGTH, LABELS) == (model.spec.max_sequence_length, model.spec.labels)
    assert 0 == model.parity.unexplained, model.parity
    bundle = tmp_path / "models" / "mine"
    manifest = export_model(model, bundle, lambda _: None, VARIANTS.get(family, ()))
    assert FILE in manifest["files"]
    variants = VARIANTS.get(family, ()) if family != "DebertaV3" else ()
    assert ("portable", *variants) == tuple(manifest["variants"])
    tokenizer = Tokenizer.from_file(str(bundle / "tokenizer.json"))
    run = onnx_run(bundle / "model.onnx")
    pairs = encode(tokenizer, list(zip(TEXTS[:2], OTHERS[:2], strict=True)), LENGTH)
    # In a graph, as `fit` and `predict` do; Python code would split texts otherwise.
    texts = tf.constant(TEXTS[:2]), tf.constant(OTHERS[:2])
    features = tf.function(classifier.preprocessor)(x=texts)
    for ids, mask, one in zip(
        features["token_ids"].numpy(), features["padding_mask"].numpy(), pairs, strict=True
    ):
        assert ids[mask].tolist() == list(one.token_ids)
    rows = run(pad(pairs))
    expected = classifier(features, training=False).numpy()
    np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-5)
    assert np.abs(rows[0] - rows[1]).max() > 1e-3


def test_a_file_is_exported_and_verify_proves_the_bundle(tmp_path, capfd, monkeypatch):
    """In this process; `test_exports_by_command` exports a file by the command."""
    monkeypatch.chdir(tmp_path)
    classifier = make_classifier("DistilBert")
    train_a_little(classifier)
    classifier.save("mine.keras")
    report = export("mine.keras", "models/mine", labels=LABELS, pair=True, variants=["fused"])
    assert any("odd texts are tokenised otherwise" in note for note in report.notes)
    manifest = read_manifest(Path("models/mine"))
    source = options_of_bundle("mine.keras", manifest)
    console = Console()
    verify(Path("models/mine"), manifest, source, Path("weights"), console)
    assert "padded batches" in capfd.readouterr().out
    make_classifier("DistilBert", dropout=0.5).save("mine.keras")
    with pytest.raises(BundleError, match="has other weights than the bundle"):
        verify(Path("models/mine"), manifest, source, Path("weights"), console)
