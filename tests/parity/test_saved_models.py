"""What can be saved can be exported, or is refused by name: files, LoRA, heads, Hugging Face."""

import json

import keras
import keras_hub
import numpy as np
import pytest
from parity.families import LENGTH, SIZE, byte_pairs, make_backbone, make_classifier, make_tokenizer
from safetensors.numpy import save_file
from semserve_export import own
from semserve_export.asked import OwnModel
from semserve_export.errors import WeightsError
from semserve_export.own import load_own
from semserve_export.tokenizer import encode, pad

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    # KerasHub opens vocabulary.spm and leaves it to the collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

TEXTS = ["the cat sat", "Hello, world!"]


@pytest.fixture(autouse=True)
def few_texts(monkeypatch):
    """Compare tokenizers on few texts; `test_tokenizer_parity` does it on many."""
    monkeypatch.setattr(own, "COMPARED_TEXTS", 150)


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
    model = load_own(OwnModel(str(file)))
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
    rows = rows_of(load_own(OwnModel(str(tmp_path / "mine"))))
    np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-5)


def test_probabilities_become_logits_again(tmp_path):
    classifier = make_classifier("DistilBert", activation="softmax")
    classifier.save_to_preset(str(tmp_path / "mine"))
    logits = rows_of(load_own(OwnModel(str(tmp_path / "mine"))))
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
    model = load_own(OwnModel(str(tmp_path / "mine"), pooling=pooling, normalize=False))
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
        load_own(OwnModel(str(tmp_path / "bare.keras")))
    make_classifier("Bert").save_to_preset(str(tmp_path / "whole"))
    model = load_own(OwnModel(str(tmp_path / "bare.keras"), tokenizer=str(tmp_path / "whole")))
    assert "embedding" == model.spec.task


def test_a_wrong_number_of_labels_is_refused(tmp_path):
    make_classifier("Bert").save_to_preset(str(tmp_path / "mine"))
    with pytest.raises(WeightsError, match="3 classes need as many labels"):
        load_own(OwnModel(str(tmp_path / "mine"), labels=("no", "yes")))


def test_a_model_that_is_none_of_keras_hubs_is_refused_by_name(tmp_path):
    inputs = keras.Input((4,))
    keras.Model(inputs, keras.layers.Dense(2)(inputs)).save(tmp_path / "other.keras")
    with pytest.raises(WeightsError, match=r"other\.keras: holds a Functional, which cannot be"):
        load_own(OwnModel(str(tmp_path / "other.keras")))


def test_a_model_that_does_not_know_its_padding_is_refused_with_the_reason(tmp_path):
    keras_hub.models.FNetBackbone(
        vocabulary_size=9, num_layers=1, hidden_dim=4, intermediate_dim=4
    ).save_to_preset(str(tmp_path / "fnet"))
    with pytest.raises(WeightsError, match="it takes no padding mask"):
        load_own(OwnModel(str(tmp_path / "fnet")))


@pytest.fixture
def hugging_face_roberta(tmp_path):
    """Write a Hugging Face directory of a RoBERTa classifier of random numbers."""
    vocabulary, merges = byte_pairs()
    hidden, inner, positions = SIZE["hidden_dim"], SIZE["intermediate_dim"], 50
    square = (hidden, hidden)
    shapes = {
        "roberta.embeddings.word_embeddings": (len(vocabulary), hidden),
        "roberta.embeddings.position_embeddings": (positions, hidden),
        "roberta.embeddings.LayerNorm": (hidden,),
        "classifier.dense": square,
        "classifier.out_proj": (2, hidden),
    }
    for layer in range(2):
        name = f"roberta.encoder.layer.{layer}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            shapes[f"{name}.attention.{part}"] = square
        shapes |= {
            f"{name}.attention.output.LayerNorm": (hidden,),
            f"{name}.intermediate.dense": (inner, hidden),
            f"{name}.output.dense": (hidden, inner),
            f"{name}.output.LayerNorm": (hidden,),
        }
    random = np.random.default_rng(11)
    weights = {}
    for name, shape in shapes.items():
        weights[f"{name}.weight"] = random.normal(0, 0.4, shape).astype(np.float32)
        if "embeddings.w" not in name and "embeddings.p" not in name:
            weights[f"{name}.bias"] = random.normal(0, 0.4, shape[:1]).astype(np.float32)
    directory = tmp_path / "theirs"
    directory.mkdir()
    save_file(weights, directory / "model.safetensors")
    config = {
        "model_type": "roberta", "architectures": ["RobertaForSequenceClassification"],
        "vocab_size": len(vocabulary), "num_hidden_layers": 2, "num_attention_heads": 2,
        "hidden_size": hidden, "intermediate_size": inner, "max_position_embeddings": positions,
        "hidden_dropout_prob": 0, "hidden_act": "gelu", "id2label": {"0": "no", "1": "yes"},
    }  # fmt: skip
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "vocab.json").write_text(json.dumps(vocabulary))
    (directory / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    return directory, weights


def test_a_hugging_face_roberta_keeps_its_head_and_its_positions(hugging_face_roberta):
    directory, weights = hugging_face_roberta
    model = load_own(OwnModel(str(directory)))
    assert (("no", "yes"), 48, "erf") == (
        model.spec.labels, model.spec.max_sequence_length, model.spec.activation
    )  # fmt: skip
    task = model.keras_model
    positions = task.backbone.embeddings.position_embedding.position_embeddings
    stored = weights["roberta.embeddings.position_embeddings.weight"]
    np.testing.assert_array_equal(stored[2:], positions, "the first position is the third row")
    for layer, name in ((task.pooled_dense, "dense"), (task.output_dense, "out_proj")):
        np.testing.assert_array_equal(weights[f"classifier.{name}.weight"].T, layer.kernel)
        np.testing.assert_array_equal(weights[f"classifier.{name}.bias"], layer.bias)
    assert "<s> a </s> </s> b </s>" == " ".join(model.tokenizer.encode("a", "b").tokens)
    assert 0 == model.parity.unexplained, model.parity
