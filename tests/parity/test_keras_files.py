"""A .keras file of Keras's own layers: exported as it is, and refused where it holds code."""

import io
import json
import zipfile

import keras
import numpy as np
import pytest
import semserve_export
import tensorflow as tf
from keras import layers
from parity.hostile_archives import rewrite
from rich.console import Console
from semserve_export.bundle.layout import read_manifest
from semserve_export.bundle.tolerance import onnx_run
from semserve_export.cli.app import run_command_line
from semserve_export.cli.export_commands import verify
from semserve_export.errors import ExportError, FidelityError
from semserve_export.options import options_of_bundle
from semserve_export.tokenizers.bert_wordpiece import encode, pad
from semserve_export.untrusted.configs.keras_layers import checked_layers, loss_of
from tokenizers import Tokenizer

WORDS = {"<OOV>": 1, "the": 2, "cat": 3, "sat": 4}
TEXT = "The cat slept."

# Keras saves variables through an __array__ that numpy finds old-fashioned.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Write models to a directory, with a word index beside them; gives the directory."""
    directory = tmp_path_factory.mktemp("saved")
    (directory / "words.json").write_text(json.dumps(WORDS))
    ids = keras.Input((None,), dtype="int32")
    vectors = layers.Embedding(5, 4, mask_zero=True)(ids)
    average = layers.GlobalAveragePooling1D()(vectors)
    scores = layers.Dense(3)(average)
    model = keras.Model(ids, scores)
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.save(directory / "plain.keras")
    keras.Model(ids, average / keras.ops.norm(average, axis=1, keepdims=True)).save(
        directory / "operations.keras"
    )
    keras.Model(ids, layers.Lambda(lambda rows: rows * 2)(average)).save(directory / "code.keras")
    words = layers.TextVectorization(vocabulary=["the", "cat", "sat"], output_sequence_length=6)
    texts = keras.Sequential(
        [keras.Input((1,), dtype="string"), words, layers.Embedding(5, 4), layers.Flatten()]
    )
    texts.save(directory / "texts.keras")
    return directory


def row_of(bundle, text):
    tokenizer = Tokenizer.from_file(str(bundle / "tokenizer.json"))
    return onnx_run(bundle / "model.onnx")(pad(encode(tokenizer, [text], 100)))[0]


def test_a_file_gives_what_keras_gives_and_tells_its_loss(saved, tmp_path):
    report = semserve_export.export(
        saved / "plain.keras", tmp_path / "plain", tokenizer=saved / "words.json"
    )
    assert ("classification", "softmax") == (report.manifest["task"], report.manifest["scores"])
    expected = keras.saving.load_model(saved / "plain.keras", compile=False)(np.array([[2, 3, 1]]))
    np.testing.assert_allclose(row_of(tmp_path / "plain", TEXT), expected[0], rtol=0, atol=1e-5)


def test_a_file_with_operations_of_keras_is_exported_and_its_unit_length_seen(saved, tmp_path):
    report = semserve_export.export(
        str(saved / "operations.keras"), tmp_path / "mine", tokenizer=str(saved / "words.json")
    )
    assert report.manifest["normalized"]


def test_a_file_with_its_vocabulary_is_exported_by_the_command_and_told_in_80_columns(
    saved, tmp_path, monkeypatch, capfd
):
    monkeypatch.chdir(saved)
    monkeypatch.setenv("COLUMNS", "80")
    assert 0 == run_command_line(["keras", "texts.keras", "--output", str(tmp_path)])
    reported = capfd.readouterr().out
    assert "the TextVectorization layer" in reported
    assert "post, to 6 tokens" in reported
    assert 80 >= max(map(len, reported.splitlines()))
    expected = keras.saving.load_model(saved / "texts.keras", compile=False)(tf.constant([[TEXT]]))
    np.testing.assert_allclose(row_of(tmp_path / "texts", TEXT), expected[0], rtol=0, atol=1e-5)


def test_verify_takes_the_padding_that_the_export_took(saved, tmp_path):
    ids = keras.Input((4,), dtype="int32")
    flat = layers.Flatten()(layers.Embedding(5, 4)(ids))
    keras.Model(ids, flat).save(tmp_path / "flat.keras")
    words, bundle = str(saved / "words.json"), tmp_path / "flat"
    semserve_export.export(tmp_path / "flat.keras", bundle, tokenizer=words, padding="pre")
    manifest = read_manifest(bundle)

    def check(**said):
        request = options_of_bundle(str(tmp_path / "flat.keras"), manifest, tokenizer=words, **said)
        verify(bundle, manifest, request, tmp_path, Console(file=io.StringIO()))

    check(padding="pre")
    check(padding="pre", padded_length=4, truncating="pre")
    with pytest.raises(FidelityError, match=r"Keras, on .* padded batches: past the bound"):
        check(padding="post")
    with pytest.raises(ExportError, match="--padding: the model answers otherwise for a text"):
        check()


@pytest.mark.parametrize(
    "said", [("--padding", "pre"), ("--truncating", "post"), ("--padded-length", "4")]
)
def test_the_sequences_of_a_source_are_refused_without_the_source(saved, tmp_path, capfd, said):
    semserve_export.export(saved / "texts.keras", tmp_path / "texts")
    assert 2 == run_command_line(["verify", str(tmp_path / "texts"), *said])
    assert "--adapter, --tokenizer and the like go with --source" in capfd.readouterr().err


def test_code_is_refused_unless_it_is_trusted(saved, tmp_path):
    output = {"tokenizer": saved / "words.json"}
    with pytest.raises(ExportError, match=r"code\.keras: holds a Lambda layer, .* trust=True"):
        semserve_export.export(saved / "code.keras", tmp_path / "mine", **output)
    report = semserve_export.export(saved / "code.keras", tmp_path / "mine", trust=True, **output)
    assert "embedding" == report.manifest["task"]


def renamed(name, module, registered=None):
    def change(config):
        layer = config["config"]["layers"][-1]
        layer |= {"class_name": name, "module": module, "registered_name": registered}
        return config

    return change


def with_setting(place, **settings):
    def change(config):
        config["config"]["layers"][place]["config"] |= settings
        return config

    return change


HOSTILE = {
    "a class of a program": (
        "plain",
        renamed("Mine", None, "me>Mine"),
        r"holds a Mine \(me>Mine\), which is none of Keras's own layers; call semserve_export",
    ),
    "a class of another module": (
        "plain",
        renamed("Dense", "os.path"),
        r"holds a Dense \(os\.path\), which is none of Keras's own layers",
    ),
    "a function as an operation": (
        "plain",
        renamed("system", "keras.src.ops.numpy.os"),
        "which is none of Keras's own layers",
    ),
    "a saved model as a layer": ("plain", renamed("TFSMLayer", "keras.layers"), "a TFSMLayer"),
    "a lookup of a file": ("plain", renamed("StringLookup", "keras.layers"), "a StringLookup"),
    "a vocabulary by its path": (
        "texts",
        with_setting(1, vocabulary="/etc/hostname"),
        "holds a TextVectorization whose vocabulary names a file",
    ),
    "a function that splits": (
        "texts",
        with_setting(1, split={"class_name": "function", "module": "builtins", "config": "len"}),
        "holds a TextVectorization whose split is a function|holds a function by its name",
    ),
    "a table that is not stored": (
        "plain",
        with_setting(1, input_dim=900_000_000, output_dim=1000),
        "an Embedding has 900000000 rows of 1000 numbers, and the weights hold",
    ),
    "a layer without end": ("plain", with_setting(-1, units=10**8), "the setting 'units' is 1e"),
    "a path as a setting": (
        "plain",
        with_setting(-1, activation="$(touch marker)"),
        r"the setting 'activation' is '\$\(touch marker\)', which may name a file",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_file_that_would_do_harm_is_refused_by_name(saved, tmp_path, case):
    source, change, message = HOSTILE[case]
    rewrite(saved / f"{source}.keras", tmp_path / "bad.keras", config=change)
    with pytest.raises(ExportError, match=rf"^{tmp_path}/bad\.keras: .*({message})") as raised:
        semserve_export.export(
            tmp_path / "bad.keras", tmp_path / "mine", tokenizer=saved / "words.json"
        )
    assert 1 == len(str(raised.value).splitlines())


def test_the_configuration_that_keras_reads_is_written_anew(saved):
    """What only a training needs is left out, functions of losses and metrics among it."""
    with zipfile.ZipFile(saved / "plain.keras") as archive:
        config = json.loads(archive.read("config.json"))
    assert "sparse_categorical_crossentropy" == loss_of(config)
    assert "compile_config" not in checked_layers(config)
