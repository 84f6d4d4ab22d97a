"""What is checked before Keras reads it comes out as good as it was, however old its names are."""

import json
import zipfile

import keras
import numpy as np
import pytest
from parity.families import FAMILIES, make_classifier
from parity.hostile import copy_preset
from parity.hostile_archives import rewrite
from semserve_export.pipeline.custom_model import open_preset
from semserve_export.untrusted.saved_objects import checked_model
from semserve_export.untrusted.staged_preset import OBJECTS

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    # KerasHub opens vocabulary.spm and leaves it to the collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

TEXTS = ["the cat sat", "Hello, world!"]


def assert_same_classifier(path, classifier):
    """Load a saved classifier, and compare its answers with those of the one that was saved."""
    inputs = classifier.preprocessor(TEXTS)
    with open_preset(str(path)) as preset:
        assert ("classification", type(classifier)) == (preset.task, preset.family.classifier)
        assert preset.load_tokenizer().get_vocabulary() == (
            classifier.preprocessor.tokenizer.get_vocabulary()
        )
        loaded = preset.load_classifier(preset.activation)
        rows = loaded(inputs, training=False)
    np.testing.assert_allclose(classifier(inputs, training=False), rows, rtol=0, atol=1e-5)


def older(saved):
    """Name what KerasHub saved as KerasNLP named it."""
    names = {"TextClassifierPreprocessor": "Preprocessor", "TextClassifier": "Classifier"}
    if isinstance(saved, list):
        return [older(each) for each in saved]
    if not isinstance(saved, dict):
        return saved
    saved = {key: older(value) for key, value in saved.items()}
    if str(saved.get("registered_name")).startswith("keras_hub>"):
        name = saved["class_name"]
        for now, then in names.items():
            name = name.replace(now, then)
        module = saved["module"].replace("keras_hub", "keras_nlp")
        return saved | {
            "class_name": name, "registered_name": f"keras_nlp>{name}", "module": module,
            "assets": [], "weights": None, "build_config": {"input_shape": [None]},
        }  # fmt: skip
    return saved


@pytest.mark.parametrize("family", FAMILIES)
def test_a_file_of_every_family_answers_as_the_model_that_was_saved(family, tmp_path):
    classifier = make_classifier(family)
    classifier.save(tmp_path / "mine.keras")
    assert_same_classifier(tmp_path / "mine.keras", classifier)


@pytest.mark.parametrize("family", ["Bert", "XLMRoberta"])
def test_a_preset_with_the_names_of_kerasnlp_is_the_same_classifier(family, tmp_path):
    classifier = make_classifier(family)
    classifier.save_to_preset(str(tmp_path / "now"))
    copy_preset(tmp_path / "now", tmp_path / "then")
    for name in OBJECTS:
        saved = json.loads((tmp_path / "now" / name).read_text())
        (tmp_path / "then" / name).write_text(json.dumps(older(saved)))
    assert "keras_nlp>" in (tmp_path / "then" / "task.json").read_text()
    assert_same_classifier(tmp_path / "then", classifier)


def test_a_file_with_the_names_of_kerasnlp_is_the_same_classifier(tmp_path):
    classifier = make_classifier("DistilBert")
    classifier.save(tmp_path / "now.keras")
    rewrite(tmp_path / "now.keras", tmp_path / "then.keras", config=older)
    assert_same_classifier(tmp_path / "then.keras", classifier)


def test_what_the_training_alone_needs_is_not_read(tmp_path):
    """A tutorial's schedule of learning rates is a class that only its training script knows."""
    classifier = make_classifier("Bert")
    classifier.save(tmp_path / "now.keras")

    def with_schedule(config):
        schedule = {
            "module": "tutorial", "class_name": "WarmUp", "config": {"steps": 100},
            "registered_name": "tutorial>WarmUp",
        }  # fmt: skip
        config["compile_config"]["optimizer"]["config"]["learning_rate"] = schedule
        config["config"]["backbone"]["compile_config"] = {"optimizer": schedule}
        return config

    rewrite(tmp_path / "now.keras", tmp_path / "then.keras", config=with_schedule)
    assert_same_classifier(tmp_path / "then.keras", classifier)


def test_mixed_precision_and_low_rank_updates_are_let_through(tmp_path, request):
    before = keras.config.dtype_policy()
    request.addfinalizer(lambda: keras.config.set_dtype_policy(before))
    keras.config.set_dtype_policy("mixed_bfloat16")
    classifier = make_classifier("DistilBert")
    classifier.backbone.enable_lora(2)
    classifier.save(tmp_path / "mine.keras")
    keras.config.set_dtype_policy(before)
    with open_preset(str(tmp_path / "mine.keras")) as preset:
        loaded = preset.load_classifier(preset.activation)
    np.testing.assert_array_equal(
        classifier.backbone.token_embedding.embeddings, loaded.backbone.token_embedding.embeddings
    )


def test_a_checked_config_is_the_saved_one_without_what_its_training_needs(tmp_path):
    classifier = make_classifier("Albert")
    classifier.save(tmp_path / "mine.keras")
    with zipfile.ZipFile(tmp_path / "mine.keras") as archive:
        saved = json.loads(archive.read("config.json"))
    checked = checked_model(saved)
    assert saved["config"]["backbone"]["config"] == checked["config"]["backbone"]["config"]
    assert {"module", "class_name", "config", "registered_name"} == set(checked)
    assert {"backbone", "preprocessor", "name", "num_classes", "activation", "dropout"} == set(
        checked["config"]
    )


def test_links_of_a_hugging_face_cache_are_followed(tmp_path):
    classifier = make_classifier("Bert")
    classifier.save_to_preset(str(tmp_path / "saved"))
    snapshot, blobs = tmp_path / "hub" / "snapshots" / "1a2b", tmp_path / "hub" / "blobs"
    copy_preset(tmp_path / "saved", snapshot)
    blobs.mkdir()
    for name in ("task.json", "model.weights.h5"):
        (snapshot / name).rename(blobs / name)
        (snapshot / name).symlink_to(f"../../blobs/{name}")
    assert_same_classifier(snapshot, classifier)
