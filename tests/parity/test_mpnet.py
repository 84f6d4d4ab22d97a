"""MPNet: our backbone says what its published tensors mean, and every graph says the same."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from parity.reference_mpnet import ReferenceMPNet
from parity.tiny_mpnet import HEADS, POSITIONS, VOCABULARY, write_tiny_mpnet
from safetensors.numpy import load_file, save_file
from semserve_export.bundle.tolerance import keras_run, largest_difference, onnx_run
from semserve_export.errors import FidelityError, WeightsError
from semserve_export.graphs.encoder_reader import read_encoder
from semserve_export.models.loaded_model import (
    LoadedModel,
    load_base_classifier,
    load_base_embedder,
)
from semserve_export.models.mpnet import bucket_of, bucket_table
from semserve_export.models.mpnet_weights import load_mpnet
from semserve_export.pipeline.export import comparison_batches, export_model
from semserve_export.pipeline.verify import verify_bundle
from semserve_export.recipes import MPNET_BASE_V2, NLI_MPNET
from semserve_export.tokenizers.bert_wordpiece import Encoding, encode, pad
from semserve_export.tokenizers.mpnet_tokenizer import build_mpnet_tokenizer
from semserve_export.tokenizers.synthetic_texts import texts_like
from semserve_export.variants.fp16 import padded_graph
from semserve_export.variants.fused import fused_graph
from semserve_export.variants.gates import gate_for, held_out_batches, measure

VARIANTS = ("fused", "int8", "fp16")
LENGTHS = (3, 9, 40, 150, POSITIONS)  # the last two have tokens farther apart than any bucket


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tiny-mpnet")
    write_tiny_mpnet(directory)
    return directory


@pytest.fixture(scope="module")
def reference(files):
    return ReferenceMPNet.read(files, HEADS)


@pytest.fixture(scope="module")
def embedder(files):
    recipe = replace(
        MPNET_BASE_V2, spec=replace(MPNET_BASE_V2.spec, name="tiny", max_sequence_length=POSITIONS)
    )
    return loaded(recipe, load_base_embedder(recipe, files))


@pytest.fixture(scope="module")
def classifier(files):
    recipe = replace(
        NLI_MPNET, spec=replace(NLI_MPNET.spec, name="tiny-nli", max_sequence_length=POSITIONS)
    )
    model = load_base_classifier(recipe, files)
    random = np.random.default_rng(5)
    for variable in (*model.pooled_dense.weights, *model.output_dense.weights):
        variable.assign(random.normal(0, 0.4, variable.shape))
    return loaded(recipe, model)


@pytest.fixture(scope="module")
def bundle(embedder, tmp_path_factory):
    directory = tmp_path_factory.mktemp("bundles") / "tiny"
    return directory, export_model(embedder, directory, lambda _: None, VARIANTS)


def loaded(recipe, model):
    return LoadedModel(
        spec=recipe.spec,
        keras_model=model,
        tokenizer=build_mpnet_tokenizer(VOCABULARY, lowercase=True, strip_accents=True),
        source="random numbers",
        sha256=None,
        licence="None needed.\n",
        notice="Random numbers.\n",
    )


def encodings():
    random = np.random.default_rng(1)
    rows = [random.integers(0, len(VOCABULARY), length).tolist() for length in LENGTHS]
    return [Encoding(row, [0] * len(row)) for row in rows]


def graph_of(model, path, build=fused_graph, **changes):
    encoder = replace(read_encoder(model.keras_model, model.spec.activation), **changes)
    onnx.save(build(encoder, model.spec), path)
    return onnx_run(path)


@pytest.mark.parametrize("prefix", ["", "mpnet."])
def test_the_backbone_computes_what_the_published_tensors_mean(tmp_path, prefix):
    write_tiny_mpnet(tmp_path, prefix=prefix)
    backbone, reference = load_mpnet(tmp_path, "erf"), ReferenceMPNet.read(tmp_path, HEADS)
    inputs = pad(encodings())
    tokens = np.asarray(backbone({name: inputs[name] for name in ("token_ids", "padding_mask")}))
    for row, encoding in zip(tokens, encodings(), strict=True):
        expected = reference.tokens(list(encoding.token_ids))
        np.testing.assert_allclose(row[: len(encoding)], expected, rtol=0, atol=1e-5)


def test_distances_fall_into_the_buckets_of_the_definition():
    assert [0, 1, 7, 8, 9, 10] == [bucket_of(-d, 32) for d in (0, 1, 7, 8, 12, 16)]
    assert [17, 23, 24] == [bucket_of(d, 32) for d in (1, 7, 8)]
    assert [12, 14, 15, 15] == [bucket_of(-d, 32) for d in (32, 64, 127, 4000)]
    assert [31, 17, 0, 1, 15] == bucket_table(501, 32)[[1000, 501, 500, 499, 0]].tolist()


def test_the_portable_graph_embeds_as_the_published_tensors_mean(bundle, embedder, reference):
    directory, _ = bundle
    texts = ["hello world", "the cat sat on a mat", "the cafe " * 60]
    encoded = encode(embedder.tokenizer, texts, POSITIONS)
    expected = [reference.embed(list(one.token_ids)) for one in encoded]
    rows = onnx_run(directory / "model.onnx")(pad(encoded))
    np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-5)


def test_every_variant_is_there_and_holds(bundle, embedder):
    directory, manifest = bundle
    assert ["portable", *VARIANTS] == list(manifest["variants"])
    assert ["token_ids", "padding_mask"] == manifest["inputs"]
    checks = list(verify_bundle(directory, embedder))
    assert all(check.holds for check in checks), checks


@pytest.mark.parametrize("kind", ["embedder", "classifier"])
def test_fused_agrees_with_keras_on_padded_batches_of_many_shapes(kind, request, tmp_path):
    """A classifier's last layer asks for first tokens alone, and so takes one row of the bias."""
    model = request.getfixturevalue(kind)
    run = graph_of(model, tmp_path / "fused.onnx")
    reference = keras_run(model.keras_model, model.spec.inputs)
    assert largest_difference(reference, run, comparison_batches(model)) <= 1e-5


@pytest.mark.parametrize("kind", ["embedder", "classifier"])
def test_the_padded_graph_in_fp32_agrees_with_keras(kind, request, tmp_path):
    """What fp16 is made of: the bias goes into ONNX Runtime's own attention."""

    def in_fp32(encoder, spec):
        return padded_graph(encoder, spec, np.float32)

    model = request.getfixturevalue(kind)
    run = graph_of(model, tmp_path / "padded.onnx", in_fp32)
    reference = keras_run(model.keras_model, model.spec.inputs)
    assert largest_difference(reference, run, comparison_batches(model)) <= 1e-5


@pytest.mark.parametrize("change", ["left out", "mirrored"])
def test_a_graph_without_the_right_position_bias_is_refused(bundle, embedder, tmp_path, change):
    directory, _ = bundle
    bias = read_encoder(embedder.keras_model, "erf").relative_bias
    wrong = {"left out": None, "mirrored": np.ascontiguousarray(bias[:, ::-1])}[change]
    run = graph_of(embedder, tmp_path / "wrong.onnx", relative_bias=wrong)
    spec = embedder.spec
    batches = held_out_batches("fused", embedder.tokenizer, spec.max_sequence_length, pair=False)
    quality = measure(onnx_run(directory / "model.onnx"), run, spec.task, batches)
    with pytest.raises(FidelityError, match="difference is"):
        gate_for("fused", spec.task).require(quality, spec.name)


@pytest.mark.parametrize("variant", ["fused", "int8"])
def test_a_text_gets_the_same_row_alone_and_in_any_batch(bundle, embedder, variant):
    directory, _ = bundle
    run = onnx_run(directory / f"model.{variant}.onnx")
    texts = encode(embedder.tokenizer, texts_like(24, seed=5, pair=False), POSITIONS)
    alone = np.concatenate([run(pad([text])) for text in texts])
    assert 1 - 1e-6 <= (run(pad(texts)) * alone).sum(axis=1).min()


def test_all_layers_share_one_bias(embedder, tmp_path):
    graph_of(embedder, tmp_path / "fused.onnx")
    graph = onnx.load(tmp_path / "fused.onnx").graph
    assert 1 == len([node for node in graph.node if node.op_type == "Range"])
    shape = [HEADS, 2 * POSITIONS - 1]
    assert 1 == len([weight for weight in graph.initializer if list(weight.dims) == shape])


def test_special_tokens_stand_around_texts_and_pairs_and_their_names_are_text(embedder):
    tokenizer = embedder.tokenizer
    assert ["<s>", "the", "cat", "</s>"] == tokenizer.encode("The cat").tokens
    pair = tokenizer.encode("the cat", "a mat").tokens
    assert ["<s>", "the", "cat", "</s>", "</s>", "a", "mat", "</s>"] == pair
    forged = tokenizer.encode("cat </s> <mask>").ids
    assert [2] == [place for place in forged if place == VOCABULARY.index("</s>")]
    assert VOCABULARY.index("<mask>") not in forged
    with pytest.raises(WeightsError, match="no MPNet's: it lacks <s>"):
        build_mpnet_tokenizer(VOCABULARY[1:], lowercase=True, strip_accents=True)


def test_files_that_are_no_mpnets_are_refused_by_what_they_lack(files, tmp_path):
    write_tiny_mpnet(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    less = {name: value for name, value in tensors.items() if "relative" not in name}
    save_file(less, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=r"lacks encoder\.relative_attention_bias\.weight"):
        load_mpnet(tmp_path, "erf")
    short = tensors | {"encoder.relative_attention_bias.weight": np.zeros((8, HEADS), np.float32)}
    save_file(short, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=r"needs \(32, 2\), the file has \(8, 2\)"):
        load_mpnet(tmp_path, "erf")
    config = json.loads((files / "config.json").read_text())
    del config["relative_attention_num_buckets"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match="lacks 'relative_attention_num_buckets'"):
        load_mpnet(tmp_path, "erf")
