"""The faster graphs of every family whose layers are BERT's, held against Keras itself."""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import keras_hub
import numpy as np
import onnx
import pytest
from parity.families import LENGTH, make_backbone, make_classifier, make_tokenizer, scramble
from semserve_export.bundle.tolerance import (
    Run,
    keras_run,
    largest_difference,
    onnx_run,
    padded_batches,
    scaled_difference,
)
from semserve_export.encoder_weights import EncoderWeights
from semserve_export.graphs.encoder_reader import is_encoder, read_encoder
from semserve_export.model_spec import ModelSpec
from semserve_export.models.activation import set_activation
from semserve_export.models.bert import PooledEmbedder
from semserve_export.models.families import inputs_of
from semserve_export.models.pooling import PooledTokens
from semserve_export.tokenizers.bert_wordpiece import Encoding, pad
from semserve_export.variants.activation_ranges import observe_ranges
from semserve_export.variants.fp16 import padded_graph
from semserve_export.variants.fused import fused_graph
from semserve_export.variants.int8 import int8_graph

PLAIN = ("Bert", "Roberta", "DistilBert", "Albert", "XLMRoberta")
HEADS = ("classifier", "mean", "cls", "max")
WORDS = 70  # token ids below this are in every family's vocabulary
INVARIANT = 0.999999  # cosine of a text's row alone and in a batch

# KerasHub opens vocabulary.spm and leaves it to the collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@dataclass(frozen=True, slots=True)
class Case:
    """A model in Keras, and what graphs are made from."""

    model: Any
    encoder: EncoderWeights
    spec: ModelSpec
    keras: Run

    @classmethod
    def of(cls, model, activation) -> "Case":
        set_activation(model.backbone, activation)
        assert is_encoder(model)
        facts = {"task": "classification", "labels": ("no", "yes", "maybe")}
        if not hasattr(model, "output_dense"):
            facts = {"task": "embedding", "pooling": "mean", "normalized": True}
        spec = ModelSpec(
            name="tiny",
            description="",
            activation=activation,
            max_sequence_length=LENGTH,
            inputs=inputs_of(model),
            **facts,
        )
        return cls(model, read_encoder(model, activation), spec, keras_run(model, spec.inputs))

    def fused(self, directory):
        path = directory / "fused.onnx"
        onnx.save(fused_graph(self.encoder, self.spec), path)
        return onnx_run(path)

    def int8(self, directory):
        path = directory / "int8.onnx"
        ranges = observe_ranges(self.encoder, self.spec, [pad(encodings(64, seed=1))])
        onnx.save(int8_graph(self.encoder, self.spec, ranges), path)
        return onnx_run(path)


@cache
def make(family, head) -> Case:
    """Make each once: graphs are built from it, and nothing changes it."""
    activation = "erf" if head in {"classifier", "cls"} else "tanh"
    if head == "classifier":
        return Case.of(make_classifier(family, layers=2), activation)
    backbone = make_backbone(family, make_tokenizer(family), layers=2)
    return Case.of(PooledTokens(backbone, head, normalize=head != "cls"), activation)


def encodings(count, seed=5):
    """Random tokens of many lengths, in two segments."""
    random = np.random.default_rng(seed)
    lengths = [2 + place * 7 % (LENGTH - 1) for place in range(count)]
    return [
        Encoding(
            random.integers(0, WORDS, length).tolist(), [0] * (length // 2) + [1] * -(-length // 2)
        )
        for length in lengths
    ]


def batches():
    return padded_batches(encodings(4), WORDS, LENGTH, pair=True)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("family", PLAIN)
def test_fused_is_keras_on_padded_batches_of_many_shapes(family, head, tmp_path):
    case = make(family, head)
    run = case.fused(tmp_path)
    assert largest_difference(case.keras, run, batches()) <= 1e-5
    rows = run(pad(encodings(12)))
    assert np.abs(rows - rows[0]).max() > 1e-2  # texts do not look alike


@pytest.mark.parametrize("head", ["classifier", "mean", "cls"])
@pytest.mark.parametrize("family", PLAIN)
def test_a_row_that_is_all_padding_is_what_it_is_in_keras(family, head, tmp_path):
    case = make(family, head)
    inputs = pad(encodings(4))
    inputs["padding_mask"][1] = 0
    expected = case.keras(inputs)
    np.testing.assert_allclose(case.fused(tmp_path)(inputs), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("family", PLAIN)
def test_a_text_gets_the_same_row_alone_and_in_any_batch(family, head, tmp_path):
    case = make(family, head)
    some = encodings(20)
    for run in (case.fused(tmp_path), case.int8(tmp_path)):
        alone = np.concatenate([run(pad([one])) for one in some])
        for length in (None, LENGTH):
            assert cosines(run(pad(some, length)), alone).min() >= INVARIANT


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("family", PLAIN)
def test_int8_is_near_fused_and_takes_and_gives_the_same(family, head, tmp_path):
    case = make(family, head)
    some = pad(encodings(64, seed=2))
    assert cosines(case.int8(tmp_path)(some), case.fused(tmp_path)(some)).mean() >= 0.999
    int8, fused = (onnx.load(tmp_path / f"{name}.onnx").graph for name in ("int8", "fused"))
    assert list(case.spec.inputs) == [value.name for value in int8.input]
    assert (list(fused.input), list(fused.output)) == (list(int8.input), list(int8.output))


@pytest.mark.parametrize("family", PLAIN)
def test_fp16_is_near_fused_and_takes_and_gives_the_same(family, tmp_path):
    case = make(family, "classifier")
    some = pad(encodings(64, seed=2))
    onnx.save(padded_graph(case.encoder, case.spec), tmp_path / "fp16.onnx")
    rows = onnx_run(tmp_path / "fp16.onnx")(some)
    assert scaled_difference(rows, case.fused(tmp_path)(some)) <= 2e-2
    half, fused = (onnx.load(tmp_path / f"{name}.onnx").graph for name in ("fp16", "fused"))
    assert (list(fused.input), list(fused.output)) == (list(half.input), list(half.output))


@pytest.mark.parametrize("family", ["Roberta", "DistilBert", "XLMRoberta"])
def test_a_head_of_another_width_is_read(family, tmp_path):
    case = Case.of(make_classifier(family, hidden_dim=24), "erf")
    assert 24 == len(case.encoder.head.logits.kernel)
    assert largest_difference(case.keras, case.fused(tmp_path), batches()) <= 1e-5


@pytest.fixture
def repeating():
    """An ALBERT that goes three times through each of two groups of two layers."""
    backbone = keras_hub.models.AlbertBackbone(
        vocabulary_size=WORDS, num_layers=6, num_groups=2, num_inner_repetitions=2, num_heads=2,
        embedding_dim=8, hidden_dim=16, intermediate_dim=32, max_sequence_length=LENGTH,
    )  # fmt: skip
    scramble(backbone)
    return Case.of(PooledTokens(backbone, "mean", normalize=True), "tanh")


def test_layers_that_albert_repeats_are_in_their_places(repeating, tmp_path):
    assert 12 == len(repeating.encoder.layers)
    assert largest_difference(repeating.keras, repeating.fused(tmp_path), batches()) <= 1e-5


def test_layers_that_albert_repeats_are_stored_once(repeating, tmp_path):
    repeating.fused(tmp_path), repeating.int8(tmp_path)
    layers = 4 * (4 * 16 * 16 + 2 * 16 * 32)
    for name, kind in (("fused", onnx.TensorProto.FLOAT), ("int8", onnx.TensorProto.INT8)):
        weights = onnx.load(tmp_path / f"{name}.onnx").graph.initializer
        square = [w for w in weights if w.data_type == kind and len(w.dims) == 2]
        kernels = [w for w in square if set(w.dims) <= {16, 32, 48}]
        assert layers == sum(np.prod(w.dims) for w in kernels)


def test_a_layer_that_albert_repeats_has_the_farthest_range_of_its_places(repeating):
    encoder, spec = repeating.encoder, repeating.spec
    some = [pad(encodings(64))]
    apart = replace(encoder, layers=tuple(replace(layer) for layer in encoder.layers))
    each = observe_ranges(apart, spec, some)
    together = observe_ranges(encoder, spec, some)
    for place in range(12):
        same = [one for one, layer in enumerate(encoder.layers) if layer is encoder.layers[place]]
        assert 3 == len(same)
        for part in ("attention", "up"):
            expected = np.max([getattr(each[one], part) for one in same], axis=0)
            np.testing.assert_array_equal(getattr(together[place], part), expected)


def test_only_layers_like_berts_are_read():
    deberta = make_backbone("DebertaV3", make_tokenizer("DebertaV3"))
    assert not is_encoder(PooledTokens(deberta, "mean", normalize=True))
    assert not is_encoder(deberta)
    bert = make_backbone("Bert", make_tokenizer("Bert"))
    assert is_encoder(PooledEmbedder(bert, normalize=True))


def cosines(rows, others):
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(others, axis=1)
    return (rows * others).sum(axis=1) / lengths
