"""A model of one's own: what the preset says of itself is what is exported."""

import json

import keras_hub
import numpy as np
import pytest
from parity.reference_bert import ReferenceBert
from safetensors.numpy import save_file
from semserve_export.bundle.tolerance import onnx_run
from semserve_export.errors import WeightsError
from semserve_export.models.bert import make_classifier, make_embedder
from semserve_export.models.preset import Preset
from semserve_export.options import ModelOptions
from semserve_export.pipeline.custom_model import load_custom_model
from semserve_export.pipeline.export import export_model
from semserve_export.tokenizers.bert_wordpiece import encode, pad

TEXT = "the café, hello world!"
PAIR = ("the cat sat", "hello!")
HIDDEN, INNER, HEADS, POSITIONS = 16, 32, 2, 48

# Keras saves variables through an __array__ that numpy finds old-fashioned.
keras_saves = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture
def hugging_face(tmp_path, vocabulary):
    """Write a Hugging Face directory of two random layers; settings go into its config.json."""

    def write(*, classes=0, **settings):
        prefix = "bert." if classes else ""
        random = np.random.default_rng(11)
        shapes = {f"{prefix}{name}": shape for name, shape in bert_shapes(len(vocabulary))}
        if classes:
            shapes |= {"classifier.weight": (classes, HIDDEN), "classifier.bias": (classes,)}
            settings |= {
                "architectures": ["BertForSequenceClassification"],
                "id2label": {str(place): f"label {place}" for place in range(classes)},
            }
        config = {
            "model_type": "bert",
            "architectures": ["BertModel"],
            "vocab_size": len(vocabulary),
            "num_hidden_layers": 2,
            "num_attention_heads": HEADS,
            "hidden_size": HIDDEN,
            "intermediate_size": INNER,
            "max_position_embeddings": POSITIONS,
            "hidden_act": "gelu",
            **settings,
        }
        weights = {
            name: random.normal(0, 0.4, shape).astype(np.float32) for name, shape in shapes.items()
        }
        save_file(weights, tmp_path / "model.safetensors")
        (tmp_path / "config.json").write_text(json.dumps(config))
        (tmp_path / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
        (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": true}')
        return tmp_path

    return write


def test_a_hugging_face_embedder_gives_what_its_weights_mean(hugging_face, tmp_path):
    directory = hugging_face()
    model = load_custom_model(ModelOptions(str(directory), name="mine"))
    assert ("embedding", "erf", "mean", True, POSITIONS) == (
        model.spec.task,
        model.spec.activation,
        model.spec.pooling,
        model.spec.normalized,
        model.spec.max_sequence_length,
    )
    manifest = export_model(model, tmp_path / "models" / "mine", lambda _: None)
    assert HIDDEN == manifest["dimensions"]
    (encoding,) = encode(model.tokenizer, [TEXT], POSITIONS)
    (row,) = onnx_run(tmp_path / "models" / "mine" / "model.onnx")(pad([encoding]))
    expected = ReferenceBert.read(directory, HEADS).embed(list(encoding.token_ids))
    np.testing.assert_allclose(row, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("hidden_act", "exact"), [("gelu", True), ("gelu_new", False)])
def test_a_hugging_face_classifier_keeps_its_head_its_labels_and_its_gelu(
    hugging_face, hidden_act, exact
):
    directory = hugging_face(classes=4, hidden_act=hidden_act)
    model = load_custom_model(ModelOptions(str(directory), name="mine", pair=True))
    assert ("label 0", "label 1", "label 2", "label 3") == model.spec.labels
    (encoding,) = encode(model.tokenizer, [PAIR], POSITIONS)
    reference = ReferenceBert.read(directory, HEADS, exact=exact)
    expected = reference.classify(list(encoding.token_ids), list(encoding.segment_ids))
    row = np.asarray(model.keras_model(pad([encoding]), training=False))[0]
    np.testing.assert_allclose(row, expected, rtol=0, atol=1e-5)


def test_an_uncased_hugging_face_model_has_its_accents_stripped(hugging_face):
    directory = str(hugging_face())
    tokens = {
        strip: load_custom_model(ModelOptions(directory, name="mine", strip_accents=strip))
        .tokenizer.encode("café")
        .tokens
        for strip in (None, True, False)
    }
    assert ["[CLS]", "cafe", "[SEP]"] == tokens[None] == tokens[True]
    assert ["[CLS]", "[UNK]", "[SEP]"] == tokens[False]


@keras_saves
def test_a_kerashub_embedder_comes_back_as_it_was_saved(make_backbone, vocabulary, tmp_path):
    saved = make_embedder(make_backbone("tanh"), "cls", normalize=False)
    saved.preprocessor = keras_hub.models.BertTextEmbedderPreprocessor(
        keras_hub.models.BertTokenizer(vocabulary=vocabulary, lowercase=True), sequence_length=20
    )
    saved.save_to_preset(str(tmp_path / "preset"))
    model = load_custom_model(ModelOptions(str(tmp_path / "preset"), name="mine"))
    assert ("tanh", "cls", False, 20) == (
        model.spec.activation,
        model.spec.pooling,
        model.spec.normalized,
        model.spec.max_sequence_length,
    )
    inputs = pad(encode(model.tokenizer, ["the cat sat"], 20))
    expected, row = (
        np.asarray(each(inputs, training=False)) for each in (saved, model.keras_model)
    )
    np.testing.assert_allclose(row, expected, rtol=0, atol=1e-6)


@keras_saves
def test_a_kerashub_classifier_takes_labels_and_gives_logits(make_backbone, vocabulary, tmp_path):
    backbone = make_backbone("tanh")
    saved = keras_hub.models.BertTextClassifier(
        backbone,
        num_classes=2,
        activation="softmax",
        preprocessor=keras_hub.models.BertTextClassifierPreprocessor(
            keras_hub.models.BertTokenizer(vocabulary=vocabulary, lowercase=True),
            sequence_length=20,
        ),
    )
    preset = str(tmp_path / "preset")
    saved.save_to_preset(preset)
    assert ("0", "1") == load_custom_model(ModelOptions(preset, name="mine")).spec.labels
    model = load_custom_model(ModelOptions(preset, name="mine", labels=("no", "yes")))
    inputs = pad(encode(model.tokenizer, ["the cat sat"], 20))
    logits = np.asarray(model.keras_model(inputs, training=False))
    softmax = np.exp(logits) / np.exp(logits).sum()
    expected = np.asarray(saved(inputs, training=False))
    np.testing.assert_allclose(softmax, expected, rtol=0, atol=1e-6)
    assert ("classification", ("no", "yes")) == (model.spec.task, model.spec.labels)


@keras_saves
def test_the_head_of_a_kerashub_classifier_of_logits_comes_back(make_backbone, tmp_path):
    saved = make_classifier(make_backbone("tanh"), 3)
    saved.save_to_preset(str(tmp_path / "preset"))
    loaded = Preset.read(str(tmp_path / "preset")).load_classifier("tanh")
    for one, two in zip(saved.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), two.numpy())


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "the directory is empty"),
        ({"model_type": "gpt2"}, "holds gpt2, which cannot be exported: what can be"),
        ({"model_type": "deberta-v2"}, "relative_attention False is none of a DeBERTa-v3"),
        ({"model_type": "bert"}, "architectures names nothing"),
    ],
)
def test_what_cannot_be_exported_is_named_in_one_line(tmp_path, config, message):
    if config:
        (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match=message) as raised:
        load_custom_model(ModelOptions(str(tmp_path), name="mine"))
    assert 1 == len(str(raised.value).splitlines())


def bert_shapes(words):
    square, wide = (HIDDEN, HIDDEN), (INNER, HIDDEN)
    yield "embeddings.word_embeddings.weight", (words, HIDDEN)
    yield "embeddings.position_embeddings.weight", (POSITIONS, HIDDEN)
    yield "embeddings.token_type_embeddings.weight", (2, HIDDEN)
    denses = {"pooler.dense": square}
    norms = ["embeddings.LayerNorm"]
    for layer in ("encoder.layer.0", "encoder.layer.1"):
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            denses[f"{layer}.attention.{part}"] = square
        denses |= {f"{layer}.intermediate.dense": wide, f"{layer}.output.dense": wide[::-1]}
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
    for name, shape in denses.items():
        yield f"{name}.weight", shape
        yield f"{name}.bias", shape[:1]
    for name in norms:
        yield f"{name}.weight", (HIDDEN,)
        yield f"{name}.bias", (HIDDEN,)
