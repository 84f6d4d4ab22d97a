"""The head of a saved classifier: the server gives the scores that Keras's `predict` gives."""

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from parity.families import make_classifier
from parity.serving import serving
from semserve import Client
from semserve_export.bundle.layout import read_json, write_json
from semserve_export.errors import WeightsError
from semserve_export.options import OwnModel
from semserve_export.pipeline import custom_model as own
from semserve_export.pipeline.custom_model import load_own
from semserve_export.pipeline.export import export_model

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

TEXTS = ["the cat sat", "Hello, world!", "the boat"]
HEADS = {"none": None, "softmax": "softmax", "sigmoid": "sigmoid"}


@pytest.fixture(autouse=True)
def few_texts(monkeypatch):
    """Compare tokenizers on few texts; `test_tokenizer_parity` does it on many."""
    monkeypatch.setattr(own, "COMPARED_TEXTS", 50)


def test_the_server_scores_as_keras_predicts_for_every_head(tmp_path):
    expected, specs = {}, {}
    for name, activation in HEADS.items():
        classifier = make_classifier("DistilBert", activation=activation)
        classifier.save(tmp_path / f"{name}.keras")
        expected[name] = classifier.predict(TEXTS, verbose=0)
        model = load_own(OwnModel(str(tmp_path / f"{name}.keras")))
        specs[name] = model.spec
    assert ["softmax", "softmax", "sigmoid"] == [spec.scores for spec in specs.values()]
    # The heads differ in the manifest alone, so one graph serves all three.
    export_model(model, tmp_path / "models" / "sigmoid", lambda _: None)
    for name in ("none", "softmax"):
        copy = Path(shutil.copytree(tmp_path / "models" / "sigmoid", tmp_path / "models" / name))
        manifest = read_json(copy / "bundle.json")
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
        load_own(OwnModel(str(tmp_path / "mine")))


@pytest.mark.parametrize("activation", [None, "sigmoid"])
@pytest.mark.parametrize("suffix", ["", ".keras"])
def test_a_head_of_one_output_is_refused_in_one_line(activation, suffix, tmp_path):
    classifier = make_classifier("DistilBert", 1, activation=activation)
    path = tmp_path / f"mine{suffix}"
    classifier.save(path) if suffix else classifier.save_to_preset(str(path))
    with pytest.raises(WeightsError, match=r"mine.*: the head has one output.*be served yet"):
        load_own(OwnModel(str(path)))
