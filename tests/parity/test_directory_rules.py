"""Directories of transformers: separators in texts, flags, variants, trainings, the command."""

import numpy as np
import onnx
import onnxruntime
import pytest
from parity import hugging_face as hf
from parity import hugging_face_tokenizers as tokens
from parity.directory_cases import PAIRS, TEXTS
from parity.directory_table import CASES
from parity.reference_encoders import pool, unit
from semserve_export.errors import WeightsError
from semserve_export.graphs.portable import portable_graph
from semserve_export.options import ModelOptions
from semserve_export.pipeline.custom_model import custom_tokenizers, load_custom_model
from semserve_export.tokenizers.bert_wordpiece import encode, pad
from semserve_export.training.base_model import start_from_preset
from semserve_export.variants.fp16 import padded_graph
from semserve_export.variants.fused import fused_graph
from tokenizers import pre_tokenizers

SEPARATORS = {
    "bert": ("[CLS]", "[SEP]", "[PAD]", "[MASK]"), "distilbert": ("[CLS]", "[SEP]", "[MASK]"),
    "albert": ("[CLS]", "[SEP]", "<pad>", "[MASK]"),
    "roberta": ("<s>", "</s>", "<pad>", "<mask>"),
    "xlm-roberta": ("<s>", "</s>", "<pad>", "<mask>"),
}  # fmt: skip
BY_NAME = {case.name: case for case in CASES}
MODES = (
    *("modules-joined", "modules-sqrt", "modules-weighted", "modules-last"),
    "dense-gelu",
)


def load(path, **flags):
    return load_custom_model(ModelOptions(str(path), name="mine", **flags))


@pytest.mark.parametrize("family", hf.FAMILIES)
def test_the_name_of_a_separator_in_a_text_stays_text(family, tmp_path):
    hf.write_directory(tmp_path / "mine", family)
    served = load(tmp_path / "mine").tokenizer
    theirs = tokens.TOKENIZERS[family]()
    for name in SEPARATORS[family]:
        place = theirs.token_to_id(name)
        assert place in theirs.encode(f"a {name} b", add_special_tokens=False).ids
        for text in (name, f"a {name} b", f"a{name}b", name.lower()):
            assert place not in served.encode(text, add_special_tokens=False).ids, text


def test_a_separator_that_blanks_alone_would_leave_whole_stays_text(tmp_path):
    tokenizer = tokens.bert_tokenizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    config = {"do_lower_case": False}
    hf.write_directory(tmp_path / "mine", tokenizer=tokenizer, tokenizer_config=config)
    served = load(tmp_path / "mine").tokenizer
    assert [1] == served.encode("[SEP]", add_special_tokens=False).ids
    assert [2, 7, 3] == served.encode("sat").ids


def test_flags_change_how_letters_are_read(tmp_path):
    hf.write_directory(tmp_path / "mine")
    read = {
        flags: load(tmp_path / "mine", **dict(flags)).tokenizer.encode("CAFÉ 今日").tokens
        for flags in ((), (("strip_accents", False),), (("split_on_cjk", False),))
    }
    assert ["c", "##a", "##f", "##e", "今", "日"] == read[()][1:-1]
    assert ["[UNK]", "今", "日"] == read[("strip_accents", False),][1:-1]
    assert ["c", "##a", "##f", "##e", "[UNK]"] == read[("split_on_cjk", False),][1:-1]


@pytest.mark.parametrize("name", MODES)
def test_fused_and_fp16_graphs_pool_and_project_as_the_portable_one_does(name, tmp_path):
    BY_NAME[name].write(tmp_path / "mine")
    model = load(tmp_path / "mine")
    onnx.checker.check_model(portable_graph(model.encoder, model.spec), full_check=True)
    batch = pad(encode(model.tokenizer, TEXTS, 32))
    expected, fused, half = (
        onnxruntime.InferenceSession(build(model.encoder, model.spec).SerializeToString()).run(
            None, {each: batch[each] for each in model.spec.inputs}
        )[0]
        for build in (portable_graph, fused_graph, padded_graph)
    )
    np.testing.assert_allclose(fused, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(half, expected, rtol=0.02, atol=0.02)


def test_a_head_of_bert_pools_by_its_pooler_where_that_is_asked_for(tmp_path):
    reference = hf.write_directory(tmp_path / "mine", "roberta")
    model = load(tmp_path / "mine", pooling="pooled", normalize=False)
    (encoding,) = encode(model.tokenizer, TEXTS[:1], 48)
    expected = reference.pooled(reference.tokens(encoding.token_ids, encoding.segment_ids)[0])
    graph = portable_graph(model.encoder, model.spec).SerializeToString()
    inputs = {name: pad([encoding])[name] for name in model.spec.inputs}
    (row,) = onnxruntime.InferenceSession(graph).run(None, inputs)[0]
    np.testing.assert_allclose(row, expected, rtol=0, atol=1e-5)


def test_another_directorys_tokenizer_is_taken_where_it_is_named(tmp_path):
    hf.write_directory(tmp_path / "mine")
    (tmp_path / "mine" / "tokenizer.json").rename(tmp_path / "tokenizer.json")
    with pytest.raises(WeightsError, match=r"there is no tokenizer\.json"):
        load(tmp_path / "mine")
    assert load(tmp_path / "mine", tokenizer=str(tmp_path)).tokenizer.encode("cat").ids == [2, 6, 3]


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_a_training_begins_from_the_encoder_as_its_files_mean_it(family, tmp_path):
    reference = hf.write_directory(tmp_path / "mine", family, config={"layer_norm_eps": 1e-3})
    start = start_from_preset(tmp_path / "mine", ["no", "yes"])
    model = start.make(0, "float32")
    (encoding,) = encode(start.tokenizer, TEXTS[:1], 48)
    inputs = pad([encoding])
    tokens = model.backbone({name: inputs[name] for name in start.inputs}, training=False)
    tokens = tokens["sequence_output"] if isinstance(tokens, dict) else tokens
    expected = reference.tokens(encoding.token_ids, encoding.segment_ids)
    np.testing.assert_allclose(np.asarray(tokens)[0], expected, rtol=0, atol=1e-5)
    assert ("erf", 48) == (start.facts["activation"], start.max_sequence_length)


def test_a_directorys_tokenizer_is_not_compared_with_keras_hubs(tmp_path):
    hf.write_directory(tmp_path / "mine")
    with pytest.raises(WeightsError, match="is read by its own tokenizer"):
        custom_tokenizers(str(tmp_path / "mine"))


def test_the_mean_of_a_directory_without_modules_has_length_one(tmp_path):
    reference = hf.write_directory(tmp_path / "mine", "distilbert")
    model = load(tmp_path / "mine")
    (encoding,) = encode(model.tokenizer, ["the cat sat"], 48)
    inputs = {name: pad([encoding])[name] for name in model.spec.inputs}
    expected = unit(pool(reference.tokens(encoding.token_ids, encoding.segment_ids), "mean"))
    row = np.asarray(model.keras_model(inputs, training=False))[0]
    np.testing.assert_allclose(row, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("classes", [0, 3])
def test_a_deberta_is_filled_as_its_files_mean_it(classes, tmp_path):
    reference = hf.write_directory(tmp_path / "mine", "deberta-v2", classes=classes)
    model = load(tmp_path / "mine", pair=bool(classes))
    encodings = encode(model.tokenizer, PAIRS if classes else TEXTS, 48)
    inputs = {name: pad(encodings)[name] for name in model.spec.inputs}
    rows = np.asarray(model.keras_model(inputs, training=False))
    for row, one in zip(rows, encodings, strict=True):
        if classes:
            expected = reference.logits(one.token_ids, one.segment_ids)
        else:
            expected = unit(pool(reference.tokens(one.token_ids, one.segment_ids), "mean"))
        np.testing.assert_allclose(row, expected, rtol=1e-5, atol=1e-5)
