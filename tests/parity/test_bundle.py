"""A bundle adds up, or it is not there."""

import hashlib
import json
from dataclasses import replace

import keras
import numpy as np
import pytest
from parity.conftest import load_tiny
from semserve_export.bundle import tolerance as fidelity
from semserve_export.bundle.golden import case_text, golden_texts
from semserve_export.bundle.layout import read_manifest, write_bundle
from semserve_export.bundle.tolerance import TOLERANCE, largest_difference, require_close
from semserve_export.errors import BundleError, ExportError, FidelityError
from semserve_export.pipeline import export
from semserve_export.pipeline.verify import verify_bundle
from semserve_export.tokenizers.bert_wordpiece import encode, pad
from tokenizers import Tokenizer

FIELDS = [
    *("schema_version", "model", "description", "task", "inputs", "output", "pair"),
    *("text_order", "prompts", "default_prompt", "pooling"),
    *("normalized", "dimensions", "labels", "scores", "metric", "activation"),
    *(
        "max_sequence_length",
        "truncation",
        "tokenizer_sha256",
        "files",
        "versions",
        "weights",
        "variants",
    ),
]


def test_the_manifest_has_the_documented_fields(exported):
    manifest = read_manifest(exported.directory)
    assert FIELDS == list(manifest)
    assert 1e-5 == manifest["variants"]["portable"]["tolerance"]
    assert 0 <= manifest["variants"]["portable"]["max_abs_difference"] <= 1e-5
    if manifest["task"] == "embedding":
        assert (16, None, "cosine") == tuple(
            manifest[field] for field in ("dimensions", "labels", "metric")
        )
    else:
        assert (None, 3, None) == (
            manifest["dimensions"], len(manifest["labels"]), manifest["metric"]
        )  # fmt: skip


def test_the_manifest_names_every_file_with_its_digest(exported):
    files = exported.manifest["files"]
    on_disk = {path.name: path for path in exported.directory.iterdir()}
    assert {*files, "bundle.json"} == set(on_disk)
    for name, file in files.items():
        content = on_disk[name].read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == tuple(file.values())
    assert files["tokenizer.json"]["sha256"] == exported.manifest["tokenizer_sha256"]


@pytest.mark.parametrize("varied", ["classification"], indirect=True)
def test_the_same_export_twice_gives_the_same_bytes(exported, tmp_path):
    again = load_tiny("classification")
    export.export_model(again, tmp_path / "again", lambda _: None)
    for path in exported.directory.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_nothing_in_the_bundle_tells_where_it_was_made(exported):
    for path in exported.directory.iterdir():
        assert str(exported.directory.parent).encode() not in path.read_bytes(), path.name


def test_golden_answers_are_what_keras_says_of_each_text_alone(exported):
    spec = exported.model.spec
    golden = json.loads((exported.directory / "golden.json").read_text(encoding="utf-8"))
    assert list(golden_texts(spec)) == [as_text(case) for case in golden["cases"]]
    assert 16 <= len(golden["cases"]) <= 24
    assert spec.max_sequence_length == max(len(case["token_ids"]) for case in golden["cases"])
    for case in golden["cases"]:
        inputs = pad(encode(exported.model.tokenizer, [case_text(case)], spec.max_sequence_length))
        assert (case["token_ids"], case["segment_ids"]) == (
            inputs["token_ids"][0].tolist(),
            inputs["segment_ids"][0].tolist(),
        )
        row = np.asarray(exported.model.keras_model(inputs, training=False))[0]
        np.testing.assert_allclose(case[spec.output], row, rtol=1e-6, atol=1e-6)


def test_verify_measures_the_golden_answers_and_keras_anew(exported):
    checks = list(verify_bundle(exported.directory, exported.model))
    assert 5 == len(checks)
    assert all(check.holds for check in checks)


def test_verify_notices_another_model(exported):
    other = replace(exported.model, keras_model=shifted(exported.model.keras_model))
    *_, check = verify_bundle(exported.directory, other)
    assert not check.holds


@pytest.mark.parametrize("varied", ["embedding"], indirect=True)
def test_a_graph_past_the_tolerance_is_refused_and_nothing_is_left(exported, tmp_path, monkeypatch):
    def run_wrongly(path):
        run = fidelity.onnx_run(path)
        return lambda inputs: run(inputs) + np.float32(4 * TOLERANCE)

    monkeypatch.setattr(export, "onnx_run", run_wrongly)
    with pytest.raises(
        FidelityError, match=r"differs from Keras by [1-4].*e-05 of a row.s scale, at most 1e-05"
    ):
        export.export_model(exported.model, tmp_path / "models" / "tiny", lambda _: None)
    assert [] == list((tmp_path / "models").iterdir())


def test_one_value_that_is_not_a_number_is_past_every_tolerance():
    good, bad = np.zeros((2, 3)), np.array([[0, 0, np.nan]])
    answers = iter([good, bad, good])
    difference = largest_difference(np.zeros_like, lambda _: next(answers), [good, bad, good])
    with pytest.raises(FidelityError):
        require_close(difference, 1e-5, "tiny")


def test_an_export_that_fails_leaves_the_older_bundle(tmp_path):
    bundle = tmp_path / "models" / "tiny"
    write_bundle(bundle, fill_with("old"))

    def fail(_):
        raise FidelityError("too far")

    with pytest.raises(FidelityError):
        write_bundle(bundle, fail)
    assert "old" == (bundle / "file").read_text()
    write_bundle(bundle, fill_with("new"))
    assert "new" == (bundle / "file").read_text()
    assert [bundle] == list(bundle.parent.iterdir())


def test_a_directory_that_is_no_bundle_is_never_replaced(tmp_path):
    letters = tmp_path / "letters"
    letters.mkdir()
    (letters / "dear").write_text("reader")
    with pytest.raises(ExportError, match="is no bundle"):
        write_bundle(letters, fill_with("new"))
    assert "reader" == (letters / "dear").read_text()


def test_a_changed_file_and_a_missing_one_are_noticed(exported, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in exported.directory.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    assert read_manifest(copy) == exported.manifest
    (copy / "NOTICE").write_text("changed")
    with pytest.raises(BundleError, match="NOTICE: the sha256 is not the manifest's"):
        read_manifest(copy)
    (copy / "NOTICE").unlink()
    with pytest.raises(BundleError, match="NOTICE is missing"):
        read_manifest(copy)


def test_the_stored_tokenizer_is_the_one_that_keras_was_fed_by(exported):
    stored = Tokenizer.from_file(str(exported.directory / "tokenizer.json"))
    assert exported.model.tokenizer.to_str() == stored.to_str()


def fill_with(content):
    def fill(directory):
        (directory / "file").write_text(content)
        return {"schema_version": 1}

    return fill


def as_text(case):
    return case["text"] if "text" in case else (case["premise"], case["hypothesis"])


def shifted(model):
    return keras.Model(model.input, model.output + 1e-3)
