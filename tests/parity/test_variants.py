"""The faster graphs say what the portable graph says, or they are refused."""

import shutil
from dataclasses import replace

import keras
import numpy as np
import onnx
import pytest
from onnxruntime.quantization import QuantType, quantize_dynamic
from semserve_export.bundle.golden import golden_answers
from semserve_export.bundle.layout import GOLDEN, write_json
from semserve_export.bundle.tolerance import keras_run, largest_difference, onnx_run
from semserve_export.errors import FidelityError
from semserve_export.graphs.encoder_reader import read_encoder
from semserve_export.models import bert
from semserve_export.models.keras_internals import transformer_parts
from semserve_export.pipeline.export import comparison_batches
from semserve_export.pipeline.verify import verify_bundle
from semserve_export.tokenizers.bert_wordpiece import Encoding, encode, pad
from semserve_export.tokenizers.synthetic_texts import texts_like
from semserve_export.variants.fused import fused_graph
from semserve_export.variants.gates import Gate, Quality, gate_for, held_out_batches, measure
from semserve_export.variants.int8 import quantize_weights
from semserve_export.variants.variants import add_variants, file_of

INVARIANT = 0.999999  # cosine of a text's row alone and in a batch


def fail(error):
    raise error


def texts(exported, count):
    """Encodings of many lengths."""
    spec = exported.model.spec
    drawn = texts_like(count, seed=5, pair=spec.pair)
    encodings = encode(exported.model.tokenizer, drawn, spec.max_sequence_length)
    lengths = [3 + place * 7 % 45 for place in range(count)]
    return [
        Encoding(encoding.token_ids[:length], encoding.segment_ids[:length])
        for encoding, length in zip(encodings, lengths, strict=True)
    ]


def cosines(rows, others):
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(others, axis=1)
    return (rows * others).sum(axis=1) / lengths


def test_fused_agrees_with_portable_on_padded_batches_of_many_shapes(exported, varied):
    directory, manifest = varied.directory, varied.manifest
    variants = manifest["variants"]
    portable, fused = (onnx_run(directory / f"model{name}.onnx") for name in ("", ".fused"))
    batches = comparison_batches(exported.model)
    difference = largest_difference(portable, fused, batches)
    assert difference <= 1e-5 == variants["fused"]["tolerance"]
    assert difference <= variants["fused"]["max_abs_difference"] <= 1e-5


@pytest.mark.parametrize("variant", ["fused", "int8"])
def test_a_row_that_is_all_padding_is_what_it_is_in_portable(exported, varied, variant):
    directory, manifest = varied.directory, varied.manifest
    variants = manifest["variants"]
    inputs = pad(texts(exported, 4))
    inputs["padding_mask"][1] = 0
    portable, other = (onnx_run(directory / f) for f in ("model.onnx", file_of(variant)))
    assert np.abs(portable(inputs) - other(inputs)).max() <= variants[variant]["tolerance"]


def test_a_fused_graph_that_drops_the_padding_mask_is_refused(exported, tmp_path):
    """As ONNX Runtime's own optimiser once made one, with no warning."""
    spec = exported.model.spec
    graph = fused_graph(read_encoder(exported.model.keras_model, spec.activation), spec)
    scores = {node.output[0] for node in graph.graph.node if node.op_type == "FusedMatMul"}
    for node in graph.graph.node:
        if node.op_type == "Add" and node.input[0] in scores:
            node.op_type = "Identity"
            del node.input[1:]
    onnx.save(graph, tmp_path / "maskless.onnx")
    with pytest.raises(FidelityError, match=r"difference is .* at most 1e-05"):
        gate_for("fused", spec.task).require(measured(exported, tmp_path / "maskless.onnx"), "tiny")


def test_a_fused_graph_with_the_other_gelu_is_refused(exported, tmp_path):
    spec = exported.model.spec
    graph = fused_graph(read_encoder(exported.model.keras_model, "tanh"), spec)
    onnx.save(graph, tmp_path / "tanh.onnx")
    with pytest.raises(FidelityError, match="difference"):
        gate_for("fused", spec.task).require(measured(exported, tmp_path / "tanh.onnx"), "tiny")


@pytest.mark.parametrize("activation", ["erf", "tanh"])
@pytest.mark.parametrize(
    ("pooling", "normalize"), [("mean", False), ("cls", True), ("max", True), ("pooled", True)]
)
@pytest.mark.parametrize("varied", ["embedding"], indirect=True)
def test_fused_knows_every_head_and_both_activations(
    exported, make_backbone, tmp_path, activation, pooling, normalize
):
    model = bert.make_embedder(make_backbone(activation), pooling, normalize=normalize)
    graph = fused_graph(read_encoder(model, activation), exported.model.spec)
    onnx.save(graph, tmp_path / "model.onnx")
    batches = comparison_batches(exported.model)[::3]
    run = onnx_run(tmp_path / "model.onnx")
    assert largest_difference(keras_run(model), run, batches) <= 1e-5


@pytest.mark.parametrize("variant", ["fused", "int8", "fp16"])
def test_a_variant_takes_and_gives_what_the_portable_graph_does(varied, variant):
    directory = varied.directory
    portable, other = (onnx.load(directory / f).graph for f in ("model.onnx", file_of(variant)))
    names = [value.name for value in portable.input]
    assert {v.name: v.type for v in portable.input} == {v.name: v.type for v in other.input}
    assert list(portable.output) == list(other.output)
    assert 3 == len(names)
    assert len(other.node) < len(portable.node)


@pytest.mark.parametrize("variant", ["fused", "int8"])
def test_a_text_gets_the_same_row_alone_and_in_any_batch(exported, varied, variant):
    run = onnx_run(varied.directory / file_of(variant))
    encodings = texts(exported, 24)
    alone = np.concatenate([run(pad([encoding])) for encoding in encodings])
    for length in (None, exported.model.spec.max_sequence_length):
        assert cosines(run(pad(encodings, length)), alone).min() >= INVARIANT


def test_plain_dynamic_quantisation_lets_neighbours_change_a_text(exported, varied, tmp_path):
    """Why there is no such variant: one scale serves the whole batch, so who is in it matters."""
    path = tmp_path / "dynamic.onnx"
    quantize_dynamic(
        varied.directory / "model.fused.onnx",
        path,
        weight_type=QuantType.QInt8,
        per_channel=True,
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )
    run = onnx_run(path)
    encodings = texts(exported, 24)
    alone = np.concatenate([run(pad([encoding])) for encoding in encodings])
    assert cosines(run(pad(encodings)), alone).min() < INVARIANT


def test_int8_weights_are_int8_and_the_bar_is_reached(exported, varied):
    directory, manifest = varied.directory, varied.manifest
    variants = manifest["variants"]
    weights = onnx.load(directory / "model.int8.onnx").graph.initializer
    stored = sum(np.prod(w.dims) for w in weights if w.data_type == onnx.TensorProto.INT8)
    assert 2 * (4 * 16 * 16 + 2 * 16 * 32) == stored
    assert "int8" == variants["int8"]["precision"]
    if exported.model.spec.task == "embedding":
        assert variants["int8"]["cosine_mean"] >= 0.999
        assert variants["int8"]["cosine_min"] >= 0.995
    else:
        assert variants["int8"]["label_agreement"] >= 0.99


def test_no_two_neighbouring_products_overflow_16_bits():
    """Processors without VNNI add them in 16 bits, and would cut the sum without a word."""
    random = np.random.default_rng(4)
    for rows in (8, 9):
        kernel = random.standard_t(2, (rows, 500)).astype(np.float32)
        values, scales = quantize_weights(kernel)
        wide = values.astype(np.int32)
        assert 255 * np.abs(wide[0 : rows - 1 : 2] + wide[1:rows:2]).max() < 2**15
        assert (np.abs(wide * scales - kernel) <= scales * 0.5001).all()


BAR = Gate(
    difference=0.05,
    cosine_mean=0.999,
    cosine_min=0.995,
    label_agreement=0.99,
    rank_correlation=0.99,
)
GOOD = Quality(max_abs_difference=0.08, difference=0.01, cosine_mean=0.9991, cosine_min=0.9951)


@pytest.mark.parametrize(
    "quality",
    [
        replace(GOOD, difference=0.06),
        replace(GOOD, cosine_mean=0.9989),
        replace(GOOD, cosine_min=0.9949),
        replace(GOOD, cosine_min=float("nan")),
        Quality(max_abs_difference=0.01, difference=0.01, label_agreement=0.98),
    ],
)
def test_each_measure_can_refuse_a_variant(quality):
    BAR.require(GOOD, "tiny")
    with pytest.raises(FidelityError, match="left out"):
        BAR.require(quality, "tiny")


def test_what_is_refused_is_told_and_leaves_no_file(exported, tmp_path):
    shutil.copytree(exported.directory, tmp_path / "tiny")
    model = replace(exported.model, spec=replace(exported.model.spec, activation="tanh"))
    reported = []
    assert {} == add_variants(model, ("fused",), tmp_path / "tiny", print, reported.append)
    assert 1 == len(reported)
    assert not (tmp_path / "tiny" / "model.fused.onnx").exists()


@pytest.mark.parametrize("varied", ["embedding"], indirect=True)
def test_int8_keeps_down_products_in_fp32_where_their_inputs_leave_it_too_few_steps(
    exported, make_backbone, tmp_path
):
    """One channel that always reaches 300 leaves the others, of about 1, hardly a step of 255."""
    embedder = bert.make_embedder(make_backbone(), "mean", normalize=True)
    layer = transformer_parts(embedder.backbone.transformer_layers[0])
    reach, weights = layer.up.bias.numpy(), layer.down.kernel.numpy()
    reach[3], weights[3] = 300, 0
    layer.up.bias.assign(reach)
    layer.down.kernel.assign(weights)
    model = replace(exported.model, keras_model=embedder)
    onnx.save(fused_graph(read_encoder(embedder, "erf"), model.spec), tmp_path / "model.onnx")
    run = onnx_run(tmp_path / "model.onnx")
    write_json(tmp_path / GOLDEN, golden_answers(model.spec, model.tokenizer, run))
    facts = add_variants(model, ("int8",), tmp_path, lambda _: None, fail)["int8"]
    assert facts["scheme"].endswith("the second product of each feed-forward block in fp32")
    assert facts["cosine_mean"] > 0.999
    assert (tmp_path / "model.int8.onnx").is_file()


def test_what_has_no_layers_like_berts_has_no_variants(exported, tmp_path):
    model = replace(exported.model, keras_model=keras.Sequential([keras.layers.Dense(2)]))
    assert {} == add_variants(model, ("fused", "int8"), tmp_path, fail, fail)


def test_verify_measures_each_variant_anew(exported, varied):
    directory, manifest = varied.directory, varied.manifest
    checks = list(verify_bundle(directory, exported.model))
    assert all(check.holds for check in checks), checks
    for variant in ("fused", "int8", "fp16"):
        (difference,) = (
            check.measured
            for check in checks
            if check.name == f"{variant}: difference, distance from portable"
        )
        assert 0 < difference <= manifest["variants"][variant]["max_abs_difference"]


def measured(exported, path):
    spec = exported.model.spec
    batches = held_out_batches(
        "fused", exported.model.tokenizer, spec.max_sequence_length, pair=spec.pair
    )
    portable = onnx_run(exported.directory / "model.onnx")
    return measure(portable, onnx_run(path), spec.task, batches)
