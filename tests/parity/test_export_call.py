"""`semserve_export.export` on live models of KerasHub, and on what is built on their backbones."""

import io

import keras
import keras_hub
import numpy as np
import pytest
import semserve_export
from rich.console import Console
from semserve_export.bundle.tolerance import onnx_run
from semserve_export.errors import ExportError
from semserve_export.tokenizers.bert_wordpiece import encode, pad
from tokenizers import Tokenizer

TEXTS = ("the cat sat", "hello, world!")
LENGTH = 20

# Keras saves variables through an __array__ that numpy finds old-fashioned.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture
def preprocessor(vocabulary):
    tokenizer = keras_hub.models.BertTokenizer(vocabulary=vocabulary, lowercase=True)
    return keras_hub.models.BertTextClassifierPreprocessor(tokenizer, sequence_length=LENGTH)


def rows_of(bundle):
    tokenizer = Tokenizer.from_file(str(bundle / "tokenizer.json"))
    run = onnx_run(bundle / "model.onnx")
    return np.concatenate([run(pad(encode(tokenizer, [text], LENGTH))) for text in TEXTS])


def test_a_live_classifier_is_exported_with_the_preprocessor_that_it_holds(
    make_backbone, preprocessor, tmp_path
):
    model = keras_hub.models.BertTextClassifier(
        make_backbone("tanh", layers=1), num_classes=3, preprocessor=preprocessor
    )
    report = semserve_export.export(
        model, tmp_path / "mine", labels=["a", "b", "c"], variants=["fused"]
    )
    expected = model.predict(list(TEXTS), verbose=0)
    np.testing.assert_allclose(rows_of(tmp_path / "mine"), expected, rtol=0, atol=1e-5)
    assert ("mine", ["a", "b", "c"], ["portable", "fused"]) == (
        report.name,
        report.manifest["labels"],
        list(report.manifest["variants"]),
    )


def test_a_live_backbone_takes_a_tokenizer_and_a_pooling_and_the_report_fits_80_columns(
    make_backbone, preprocessor, tmp_path
):
    backbone = make_backbone("tanh", layers=1)
    report = semserve_export.export(
        backbone,
        tmp_path / "mine",
        tokenizer=preprocessor.tokenizer,
        pooling="cls",
        normalize=False,
        max_length=LENGTH,
        variants=[],
    )
    inputs = preprocessor(list(TEXTS))
    expected = backbone.predict(inputs, verbose=0)["sequence_output"][:, 0]
    np.testing.assert_allclose(rows_of(tmp_path / "mine"), expected, rtol=0, atol=1e-5)
    console = Console(width=80, file=io.StringIO())
    console.print(report.table())
    lines = console.file.getvalue().splitlines()
    assert 80 >= max(map(len, lines))
    assert any("pooling" in line and "cls" in line for line in lines)


def test_a_model_of_ones_own_on_a_backbone_is_exported_with_its_inputs(
    make_backbone, preprocessor, tmp_path
):
    backbone = make_backbone("tanh", layers=1)
    tokens = backbone.output["sequence_output"]
    model = keras.Model(backbone.input, keras.layers.Dense(4)(tokens[:, 0]))
    report = semserve_export.export(model, tmp_path / "mine", tokenizer=preprocessor)
    expected = model.predict(preprocessor(list(TEXTS)), verbose=0)
    np.testing.assert_allclose(rows_of(tmp_path / "mine"), expected, rtol=0, atol=1e-5)
    assert LENGTH == report.manifest["max_sequence_length"]


@pytest.mark.parametrize(
    ("model", "said", "message"),
    [
        (3, {}, "model: a int is neither a Keras model nor the path of one"),
        ("nowhere.keras", {}, "nowhere.keras: no such path"),
        ("nowhere.keras", {"variants": ["int4"]}, "variants: no variant 'int4'"),
    ],
)
def test_what_cannot_be_exported_is_refused_in_one_line(tmp_path, model, said, message):
    with pytest.raises(ExportError) as raised:
        semserve_export.export(model, tmp_path / "mine", **said)
    assert message in str(raised.value)
    assert 1 == len(str(raised.value).splitlines())


def test_a_tokenizer_that_is_none_of_keras_hubs_is_refused_for_its_models(make_backbone, tmp_path):
    with pytest.raises(ExportError, match="a dict is no tokenizer or preprocessor of KerasHub"):
        semserve_export.export(make_backbone(), tmp_path / "mine", tokenizer={"a": 1})
