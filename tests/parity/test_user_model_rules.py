"""What a user's model must be to be exported, tried on real models; what is not is named."""

import json
from dataclasses import replace
from itertools import product

import keras_hub
import numpy as np
import pytest
import tensorflow as tf
from parity.families import SIZE, make_backbone, make_classifier, make_tokenizer, scramble
from semserve_export.bundle.tolerance import keras_run, onnx_run
from semserve_export.errors import ExportError, FidelityError, WeightsError
from semserve_export.graphs.keras_to_onnx import write_graph
from semserve_export.keras_models.keras_hub_source import read_keras_hub
from semserve_export.models.delta_adapter import RECORD
from semserve_export.models.loaded_model import require_finite
from semserve_export.models.preset_rules import require_explained
from semserve_export.options import ModelOptions
from semserve_export.pipeline.custom_model import load_custom_model
from semserve_export.pipeline.loading import load_from_options
from semserve_export.tokenizers.bert_wordpiece import encode, pad
from semserve_export.tokenizers.parity import Parity, TokenDifference
from semserve_export.tokenizers.parity_causes import UNEXPLAINED

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The preset of a BERT classifier."""
    directory = tmp_path_factory.mktemp("saved") / "mine"
    make_classifier("Bert").save_to_preset(str(directory))
    return directory


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"pooling": "mean"}, "mine: --pooling is for an embedder, and the model is a classifier"),
        ({"normalize": True}, "mine: --normalize is for an embedder"),
        ({"task": "embedding", "pair": True}, "mine: --pair is for a classifier"),
        ({"task": "embedding", "labels": ("a", "b", "c")}, "mine: --label is for a classifier"),
        ({"labels": ("a", "b", "c\udcff")}, r"mine: labels .*'c.udcff' is no text in Unicode"),
    ],
)
def test_a_flag_that_does_not_fit_the_model_is_refused_by_name(saved, flags, says):
    with pytest.raises(ExportError, match=says):
        load_custom_model(ModelOptions(str(saved), **flags))


@pytest.mark.parametrize("flag", ["strip_accents", "split_on_cjk"])
def test_a_flag_of_word_pieces_is_refused_for_byte_pairs(flag, tmp_path):
    make_classifier("Roberta").save_to_preset(str(tmp_path / "mine"))
    says = f"--{flag.replace('_', '-')} is for WordPiece, and this is a RobertaTokenizer"
    with pytest.raises(WeightsError, match=says):
        load_custom_model(ModelOptions(str(tmp_path / "mine"), **{flag: False}))


def test_pairs_are_refused_where_the_backbone_has_one_segment(tmp_path):
    tokenizer, parts = make_tokenizer("Bert"), keras_hub.models
    classifier = parts.BertTextClassifier(
        parts.BertBackbone(vocabulary_size=tokenizer.vocabulary_size(), num_segments=1, **SIZE),
        num_classes=2,
        preprocessor=parts.BertTextClassifierPreprocessor(tokenizer),
    )
    classifier.save_to_preset(str(tmp_path / "mine"))
    assert not load_custom_model(ModelOptions(str(tmp_path / "mine"))).spec.pair
    with pytest.raises(WeightsError, match="--pair: the backbone has num_segments=1"):
        load_custom_model(ModelOptions(str(tmp_path / "mine"), pair=True))


def test_a_backbone_is_refused_as_a_classifier(tmp_path):
    tokenizer = make_tokenizer("Bert")
    for part in (make_backbone("Bert", tokenizer), tokenizer):
        part.save_to_preset(str(tmp_path / "mine"))
    with pytest.raises(WeightsError, match="mine: --task classification: was saved without the"):
        load_custom_model(ModelOptions(str(tmp_path / "mine"), task="classification"))


@pytest.mark.parametrize("family", ["Bert", "XLMRoberta"])
def test_an_embedder_that_keras_hub_saved_with_max_becomes_a_graph(family, tmp_path):
    tokenizer = make_tokenizer(family)
    embedder = getattr(keras_hub.models, f"{family}TextEmbedder")(
        make_backbone(family, tokenizer),
        preprocessor=getattr(keras_hub.models, f"{family}TextEmbedderPreprocessor")(
            tokenizer, sequence_length=24
        ),
        pooling_mode="max",
    )
    texts = ["the cat sat on the mat", "boat"]
    expected = embedder.predict(texts, verbose=0)
    embedder.save_to_preset(str(tmp_path / "mine"))
    model = load_custom_model(ModelOptions(str(tmp_path / "mine")))
    inputs = pad(encode(model.tokenizer, texts, 48))
    rows = keras_run(model.keras_model, model.spec.inputs)(inputs)
    np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-5)
    write_graph(model.keras_model, model.spec.inputs, "embedding", tmp_path / "model.onnx")
    rows = onnx_run(tmp_path / "model.onnx")(inputs)
    np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-5)


def test_more_tokens_than_positions_are_refused(saved):
    with pytest.raises(WeightsError, match=r"--max-sequence-length 512: the model has 48 posit"):
        load_custom_model(ModelOptions(str(saved), max_sequence_length=512))
    assert (
        48
        == load_custom_model(
            ModelOptions(str(saved), max_sequence_length=48)
        ).spec.max_sequence_length
    )


@pytest.mark.parametrize(
    ("family", "pooling", "says"),
    [
        ("DistilBert", "pooled", "the pooling 'pooled' is none of a DistilBertBackbone's: mean"),
    ],
)
def test_a_pooling_that_a_family_lacks_is_refused_by_name(family, pooling, says, tmp_path):
    make_classifier(family).save_to_preset(str(tmp_path / "mine"))
    with pytest.raises(WeightsError, match=says):
        load_custom_model(ModelOptions(str(tmp_path / "mine"), task="embedding", pooling=pooling))


def test_a_tokenizer_of_another_vocabulary_is_refused(saved, tmp_path):
    pieces = [*make_tokenizer("Bert").get_vocabulary()]
    for name, vocabulary in (
        ("small", pieces[:60]),
        ("large", [*pieces, *(f"piece{n}" for n in range(900))]),
    ):
        tokenizer = keras_hub.models.BertTokenizer(vocabulary=vocabulary)
        make_backbone("Bert", tokenizer).save_to_preset(str(tmp_path / name))
        tokenizer.save_to_preset(str(tmp_path / name))
        with pytest.raises(WeightsError, match=rf"--tokenizer .*{name}: has {len(vocabulary)} pie"):
            load_custom_model(ModelOptions(str(saved), tokenizer=str(tmp_path / name)))


def test_an_unexplained_difference_of_the_tokenizers_fails_the_export():
    odd = TokenDifference("odd\n", UNEXPLAINED, [1], [2])
    with pytest.raises(FidelityError, match=r"for no known cause, such as 'odd\\n'; .*--allow-tok"):
        require_explained(Parity(100, 1, {UNEXPLAINED: 1}, (odd,)))
    known = replace(odd, cause="rounding")
    require_explained(Parity(100, 1, {"rounding": 1}, (known,)))


class Watched(keras_hub.models.BertTextClassifier):
    """With a training step of its own, it computes as KerasHub's class does."""


class Doubled(keras_hub.models.BertTextClassifier):
    def call(self, inputs, training=None):
        return 2 * super().call(inputs, training=training)


def on_a_class_of_ones_own(kind):
    tokenizer = make_tokenizer("Bert")
    parts = keras_hub.models.BertTextClassifierPreprocessor(tokenizer, sequence_length=12)
    model = kind(make_backbone("Bert", tokenizer), num_classes=2, preprocessor=parts)
    scramble(model)
    return model


def test_a_class_of_ones_own_on_keras_hubs_stays_the_classifier_that_it_is():
    model = on_a_class_of_ones_own(Watched)
    loaded = load_from_options(ModelOptions("", live=model, name="mine"))
    (encoding,) = encode(loaded.tokenizer, ["the cat sat"], 12)
    found = keras_run(loaded.keras_model, loaded.spec.inputs)(pad([encoding]))
    assert ("classification", 12) == (loaded.spec.task, loaded.spec.max_sequence_length)
    np.testing.assert_allclose(found, model.predict(["the cat sat"], verbose=0), rtol=0, atol=1e-5)


def test_a_graph_of_layers_with_a_call_of_its_own_is_refused():
    with pytest.raises(ExportError, match="model: Doubled has a call of its own beside its graph"):
        load_from_options(ModelOptions("", live=on_a_class_of_ones_own(Doubled), name="mine"))


def test_how_a_saved_preprocessor_cuts_pairs_is_kept(tmp_path):
    classifier = make_classifier("Bert")
    classifier.preprocessor = keras_hub.models.BertTextClassifierPreprocessor(
        make_tokenizer("Bert"), sequence_length=12, truncate="waterfall"
    )
    classifier.save(tmp_path / "mine.keras")
    spec = load_custom_model(ModelOptions(str(tmp_path / "mine.keras"), pair=True)).spec
    assert (12, "waterfall") == (spec.max_sequence_length, spec.pair_truncation)


@pytest.mark.parametrize("truncate", ["round_robin", "waterfall"])
@pytest.mark.parametrize(("family", "length"), [("Bert", 12), ("Bert", 13), ("Roberta", 12)])
def test_pairs_of_all_lengths_are_cut_as_keras_hub_cuts_them(family, length, truncate):
    preprocessor = getattr(keras_hub.models, f"{family}TextClassifierPreprocessor")(
        make_tokenizer(family), sequence_length=length, truncate=truncate
    )
    source = read_keras_hub(preprocessor)
    lengths = range(length + 1) if family == "Bert" else (0, 1, 4, 5, 7, 12)  # BPE is slow
    sizes = list(product(lengths, repeat=2))
    pairs = [(" ".join(["cat"] * left), " ".join(["boat"] * right)) for left, right in sizes]
    texts = tuple(map(list, zip(*pairs, strict=True)))
    data = tf.data.Dataset.from_tensor_slices((texts, [0] * len(pairs))).batch(len(pairs))
    ((inputs, _),) = data.map(preprocessor)  # as `fit` does
    rows = zip(inputs["token_ids"].numpy(), inputs["padding_mask"].numpy(), strict=True)
    expected = [row[mask].tolist() for row, mask in rows]
    made = encode(source.tokenizer, pairs, length, pair_truncation=source.pair_truncation)
    assert expected == [list(one.token_ids) for one in made]


def test_a_tokenizer_that_does_not_split_texts_is_refused(tmp_path):
    classifier = make_classifier("Bert")
    vocabulary = classifier.preprocessor.tokenizer.get_vocabulary()
    classifier.preprocessor = keras_hub.models.BertTextClassifierPreprocessor(
        keras_hub.models.BertTokenizer(vocabulary=vocabulary, split=False), sequence_length=12
    )
    classifier.save(tmp_path / "mine.keras")
    with pytest.raises(WeightsError, match=r"mine\.keras: the tokenizer .*split=False"):
        load_custom_model(ModelOptions(str(tmp_path / "mine.keras")))


def test_weights_that_are_no_numbers_are_refused_by_the_name_of_the_tensor():
    classifier = make_classifier("DistilBert")
    classifier.output_dense.bias.assign([0, np.nan, 0])
    with pytest.raises(WeightsError, match=r"logits/bias holds NaN or infinity"):
        require_finite(classifier)


@pytest.mark.parametrize("dtype", ["bfloat16", "mixed_float16"])
def test_half_precision_is_said_to_be_served_in_float32(dtype, tmp_path):
    classifier = make_classifier("DistilBert", dtype=dtype)
    classifier.save_to_preset(str(tmp_path / "mine"))
    config = json.loads((tmp_path / "mine" / "config.json").read_text())
    config["config"]["dtype"] = dtype
    (tmp_path / "mine" / "config.json").write_text(json.dumps(config))
    model = load_custom_model(ModelOptions(str(tmp_path / "mine")))
    note, *_ = model.notes
    assert f"saved as {dtype} and is exported in float32" in note


def test_a_presets_digest_covers_its_head(saved, tmp_path):
    again, other = tmp_path / "again", tmp_path / "other"
    make_classifier("Bert").save_to_preset(str(again))
    changed = make_classifier("Bert")
    changed.output_dense.bias.assign([1, 2, 3])
    changed.save_to_preset(str(other))
    digest = load_custom_model(ModelOptions(str(saved))).sha256
    assert 64 == len(digest)
    assert digest != load_custom_model(ModelOptions(str(other))).sha256


def test_an_adapter_of_sharded_weights_is_held_to_the_weights_that_it_was_trained_on(
    saved, tmp_path
):
    backbone = keras_hub.models.BertBackbone.from_preset(str(saved))
    backbone.save_to_preset(str(tmp_path / "sharded"), max_shard_size=1e-5)
    assert (tmp_path / "sharded" / "model.weights.json").is_file()
    make_tokenizer("Bert").save_to_preset(str(tmp_path / "sharded"))
    (tmp_path / "adapter").mkdir()
    record = {"base_sha256": None, "labels": ["a", "b"], "activation": "tanh"}
    (tmp_path / "adapter" / RECORD).write_text(json.dumps(record))
    with pytest.raises(ExportError, match="was trained on other weights"):
        load_custom_model(ModelOptions(str(tmp_path / "sharded"), adapter=tmp_path / "adapter"))
