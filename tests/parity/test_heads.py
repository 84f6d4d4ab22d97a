"""The head of a saved classifier: the server gives the scores that Keras's `predict` gives."""

import re
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from parity.families import make_classifier
from parity.serving import Stubs, serving
from semserve import Client
from semserve_export import export
from semserve_export.bundle.layout import read_bundle_json, write_json
from semserve_export.errors import ExportError, WeightsError
from semserve_export.options import ModelOptions
from semserve_export.pipeline.custom_model import load_custom_model
from semserve_export.pipeline.export import export_model
from semserve_export.report import Fact

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

TEXTS = ["the cat sat", "Hello, world!", "the boat"]
HEADS = {"none": None, "softmax": "softmax", "sigmoid": "sigmoid"}


def test_the_server_scores_as_keras_predicts_for_every_head(tmp_path):
    expected, specs = {}, {}
    for name, activation in HEADS.items():
        classifier = make_classifier("DistilBert", activation=activation)
        classifier.save(tmp_path / f"{name}.keras")
        expected[name] = classifier.predict(TEXTS, verbose=0)
        model = load_custom_model(ModelOptions(str(tmp_path / f"{name}.keras")))
        specs[name] = model.spec
    assert ["softmax", "softmax", "sigmoid"] == [spec.scores for spec in specs.values()]
    # The heads differ in the manifest alone, so one graph serves all three.
    export_model(model, tmp_path / "models" / "sigmoid", lambda _: None)
    for name in ("none", "softmax"):
        copy = Path(shutil.copytree(tmp_path / "models" / "sigmoid", tmp_path / "models" / name))
        manifest = read_bundle_json(copy / "bundle.json")
        write_json(copy / "bundle.json", manifest | {"model": name, "scores": specs[name].scores})
    with serving(tmp_path / "models") as address, Client(address) as client:
        served = {name: client.classify(TEXTS, model=name) for name in HEADS}
    np.testing.assert_allclose(served["none"].logits, expected["none"], rtol=1e-5, atol=1e-5)
    for name in ("softmax", "sigmoid"):
        np.testing.assert_allclose(served[name].scores, expected[name], rtol=0, atol=1e-5)
    np.testing.assert_allclose(served["none"].scores, expected["softmax"], rtol=0, atol=1e-5)
    assert served["softmax"].labels == served["sigmoid"].labels


@pytest.mark.parametrize("activation", ["tanh", "relu", "log_softmax", keras.activations.elu])
def test_a_head_with_another_activation_is_refused_by_its_name(activation, tmp_path):
    make_classifier("Bert", activation=activation).save_to_preset(str(tmp_path / "mine"))
    name = activation if isinstance(activation, str) else "elu"
    with pytest.raises(WeightsError, match=rf"mine: the head's activation is {name}; what can be"):
        load_custom_model(ModelOptions(str(tmp_path / "mine")))


def test_a_head_of_one_output_scores_and_ranks_as_keras_predicts(tmp_path):
    ranker = make_classifier("Bert", 1, activation="sigmoid")
    documents = [*TEXTS, "hello hello", "the 今日"]
    expected = ranker.predict((["the cat"] * 5, documents), verbose=0)[:, 0]
    order = ("premise", "hypothesis")
    report = export(ranker, tmp_path / "models" / "ranker", text_order=order)
    assert ("score", None) == (report.manifest["task"], report.manifest["labels"])
    assert {"portable", "fused", "int8"} == set(report.manifest["variants"]), report.refused
    assert report.manifest["variants"]["int8"]["rank_correlation"] > 0.99
    with serving(tmp_path / "models") as address, Stubs(address) as stubs:
        scores = stubs.score([("the cat", document) for document in documents], "ranker")
        hits = stubs.rerank("the cat", documents, "ranker")
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5)
    assert np.argsort(-expected).tolist() == [place for place, _ in hits]
    np.testing.assert_allclose([score for _, score in sorted(hits)], expected, rtol=0, atol=1e-5)


def test_one_output_without_an_activation_is_served_as_it_is(tmp_path):
    make_classifier("DistilBert", 1).save_to_preset(str(tmp_path / "mine"))
    model = load_custom_model(ModelOptions(str(tmp_path / "mine")))
    assert ("score", "none", None) == (model.spec.task, model.spec.scores, model.spec.labels)
    assert Fact("scores", "none", "assumed") in model.facts


@pytest.mark.parametrize(
    ("outputs", "activation", "said", "message"),
    [
        (3, "softmax", {"scores": "sigmoid"}, "--scores sigmoid: the head's activation is softmax"),
        (1, "softmax", {}, "the head's activation is softmax: the softmax of one output is always"),
        (1, None, {"scores": "softmax"}, "the softmax of one output is always 1"),
        (1, None, {"labels": ("no",)}, "--label is for a classifier, and the model is a model of"),
        (1, None, {"task": "classification"}, "--task classification: the head has 1 output, so"),
        (3, None, {"task": "score"}, "--task score: the head has 3 outputs, so the model is a cl"),
        (3, None, {"prompts": {"q": "query: "}}, "--prompt is for an embedder, and the model is"),
        (3, None, {"task": "sparse_embedding"}, "--task sparse_embedding: needs the head of a ma"),
    ],
)  # fmt: skip
def test_what_contradicts_a_head_is_refused_in_one_line(
    outputs, activation, said, message, tmp_path
):
    make_classifier("DistilBert", outputs, activation=activation).save(tmp_path / "mine.keras")
    with pytest.raises(ExportError, match=re.escape(message)) as raised:
        load_custom_model(ModelOptions(str(tmp_path / "mine.keras"), **said))
    assert 1 == len(str(raised.value).splitlines())


@pytest.mark.parametrize("scores", ["sigmoid", "none"])
def test_what_a_head_of_logits_was_trained_for_can_be_said(scores, tmp_path):
    make_classifier("DistilBert").save(tmp_path / "mine.keras")
    model = load_custom_model(ModelOptions(str(tmp_path / "mine.keras"), scores=scores))
    assert scores == model.spec.scores
    assert Fact("scores", scores, "stated") in model.facts
