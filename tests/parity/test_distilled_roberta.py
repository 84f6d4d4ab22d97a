"""nli-roberta: the whole way of a RoBERTa, from the differences that are kept to a bundle."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from semserve_export.errors import AdapterError
from semserve_export.models.loaded_model import LICENCES
from semserve_export.pipeline.distilled_roberta import load_distilled_recipe, make_preprocessor
from semserve_export.pipeline.export import export_model
from semserve_export.pipeline.verify import verify_bundle
from semserve_export.recipes import NLI_ROBERTA

# Keras itself writes a preset in a way of which numpy warns.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def weights():
    package = NLI_ROBERTA.weights
    directory = ROOT / ".cache" / "weights" / f"{package.name}-{package.version}"
    if not directory.is_dir():
        pytest.skip(f"the weights of {package} are not in .cache/weights: make models")
    return directory


@pytest.fixture(scope="module")
def model(weights):
    return load_distilled_recipe(NLI_ROBERTA, weights)


def test_differences_to_other_weights_are_refused(weights, tmp_path):
    kept = tmp_path / "kept"
    shutil.copytree(NLI_ROBERTA.adapter, kept)
    record = (kept / "adapter.json").read_text()
    (kept / "adapter.json").write_text(
        record.replace('"teacher_sha256": "', '"teacher_sha256": "0')
    )
    with pytest.raises(AdapterError, match="was learnt from other weights"):
        load_distilled_recipe(replace(NLI_ROBERTA, adapter=kept), weights)


def test_a_vocabulary_that_is_not_there_is_named(tmp_path):
    with pytest.raises(AdapterError, match="its vocabulary cannot be read"):
        make_preprocessor(replace(NLI_ROBERTA, adapter=tmp_path))


def test_the_kept_roberta_is_read_as_a_users_own(model):
    assert 0 == model.parity.unexplained
    assert (LICENCES / "Apache-2.0.txt").read_text(encoding="utf-8") == model.licence
    assert ("token_ids", "padding_mask") == tuple(model.spec.inputs)
    tokens = model.tokenizer.encode("a", " man").tokens
    assert ["<s>", "a", "</s>", "</s>", "\u0120man", "</s>"] == tokens
    assert 256 == model.spec.max_sequence_length


@pytest.mark.slow  # ten seconds; `test_families` exports a tiny RoBERTa
def test_the_kept_roberta_is_exported_and_holds(model, tmp_path):
    bundle = tmp_path / "nli-roberta"
    manifest = export_model(model, bundle, lambda _: None, ("fused", "int8"))
    assert ["token_ids", "padding_mask"] == manifest["inputs"]
    assert ["portable", "fused", "int8"] == list(manifest["variants"])
    assert all(check.holds for check in verify_bundle(bundle, model))
