"""What can be saved can be exported, or is refused by name: files, LoRA, heads, Hugging Face."""

import keras
import keras_hub
import numpy as np
import pytest
from parity.families import LENGTH, make_backbone, make_classifier, make_tokenizer
from semserve_export.errors import WeightsError
from semserve_export.options import ModelOptions
from semserve_export.pipeline import custom_model
from semserve_export.pipeline.custom_model import load_custom_model
from semserve_export.tokenizers.bert_wordpiece import encode, pad

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    # KerasHub opens vocabulary.spm and leaves it to the collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

TEXTS = ["the cat sat", "Hello, world!"]


@pytest.fixture(autouse=True)
def few_texts(monkeypatch):
    """Compare tokenizers on few texts; `test_tokenizer_parity` does it on many."""
    monkeypatch.setattr(custom_model, "COMPARED_TEXTS", 150)


def rows_of(model, texts=TEXTS):
    inputs = pad(encode(model.tokenizer, texts, model.spec.max_sequence_length))
    return np.asarray(
        model.keras_model({name: inputs[name] for name in model.spec.inputs}, training=False)
    )


@pytest.mark.parametrize("family", ["Bert", "Albert"])
def test_a_keras_file_of_a_classifier_is_as_good_as_its_preset(family, tmp_path):
    classifier = make_classifier(family)
    file = tmp_path / "my model.keras"
    classifier.save(file)
    model = load_custom_model(ModelOptions(str(file)))
    assert ("my-model", ("0", "1", "2"), LENGTH) == (
        model.spec.name, model.spec.labels, model.spec.max_sequence_length
    )  # fmt: skip
    expected = classifier.predict(TEXTS, verbose=0)
    np.testing.assert_allclose(rows_of(model), expected, rtol=0, atol=1e-5)


def test_what_lora_taught_is_exported_with_its_biases(tmp_path):
    classifier = make_classifier("DistilBert")
    classifier.backbone.enable_lora(2)
    random = np.random.default_rng(1)
    for variable in classifier.trainable_variables:
        variable.assign_add(random.normal(0, 0.2, variable.shape).astype(np.float32))
    classifier.save_to_preset(str(tmp_path / "mine"))
    expected = classifier.predict(TEXTS, verbose=0)
    rows = rows_of(load_custom_model(ModelOptions(str(tmp_path / "mine"))))
    np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-5)


def test_probabilities_become_logits_again(tmp_path):
    classifier = make_classifier("DistilBert", activation="softmax")
    classifier.save_to_preset(str(tmp_path / "mine"))
    logits = rows_of(load_custom_model(ModelOptions(str(tmp_path / "mine"))))
    expected = classifier.predict(TEXTS, verbose=0)
    powers = np.exp(logits)
    shares = powers / powers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("pooling", ["mean", "max", "cls"])
def test_a_backbone_embeds_with_the_pooling_that_is_asked_for(pooling, tmp_path):
    tokenizer = make_tokenizer("DistilBert")
    backbone = make_backbone("DistilBert", tokenizer)
    backbone.save_to_preset(str(tmp_path / "mine"))
    tokenizer.save_to_preset(str(tmp_path / "mine"))
    model = load_custom_model(
        ModelOptions(str(tmp_path / "mine"), pooling=pooling, normalize=False)
    )
    inputs = pad(encode(model.tokenizer, TEXTS, 48))
    del inputs["segment_ids"]
    tokens = np.asarray(backbone(inputs, training=False))
    pooled = {
        "cls": lambda row, _: row[0],
        "max": lambda row, used: row[:used].max(axis=0),
        "mean": lambda row, used: row[:used].mean(axis=0),
    }[pooling]
    expected = [
        pooled(row, used) for row, used in zip(tokens, inputs["padding_mask"].sum(1), strict=True)
    ]
    np.testing.assert_allclose(rows_of(model), expected, rtol=0, atol=1e-5)


def test_a_model_without_a_tokenizer_takes_the_one_that_is_named(tmp_path):
    tokenizer = make_tokenizer("Bert")
    make_backbone("Bert", tokenizer).save(tmp_path / "bare.keras")
    with pytest.raises(WeightsError, match=r"has no tokenizer.*name a preset that has it"):
        load_custom_model(ModelOptions(str(tmp_path / "bare.keras")))
    make_classifier("Bert").save_to_preset(str(tmp_path / "whole"))
    model = load_custom_model(
        ModelOptions(str(tmp_path / "bare.keras"), tokenizer=str(tmp_path / "whole"))
    )
    assert "embedding" == model.spec.task


def test_a_wrong_number_of_labels_is_refused(tmp_path):
    make_classifier("Bert").save_to_preset(str(tmp_path / "mine"))
    with pytest.raises(WeightsError, match="3 classes need as many labels"):
        load_custom_model(ModelOptions(str(tmp_path / "mine"), labels=("no", "yes")))


def test_a_model_that_is_none_of_keras_hubs_is_refused_by_name(tmp_path):
    inputs = keras.Input((4,))
    keras.Model(inputs, keras.layers.Dense(2)(inputs)).save(tmp_path / "other.keras")
    with pytest.raises(WeightsError, match=r"other\.keras: holds a Functional, which cannot be"):
        load_custom_model(ModelOptions(str(tmp_path / "other.keras")))


def test_a_model_that_does_not_know_its_padding_is_refused_with_the_reason(tmp_path):
    keras_hub.models.FNetBackbone(
        vocabulary_size=9, num_layers=1, hidden_dim=4, intermediate_dim=4
    ).save_to_preset(str(tmp_path / "fnet"))
    with pytest.raises(WeightsError, match="it takes no padding mask"):
        load_custom_model(ModelOptions(str(tmp_path / "fnet")))
