"""nli-roberta: the whole way of a RoBERTa, from the preset that is kept to a bundle."""

import pytest
from semserve_export.models.loaded_model import LICENCES
from semserve_export.pipeline.custom_model import load_preset_recipe
from semserve_export.pipeline.export import export_model
from semserve_export.pipeline.verify import verify_bundle
from semserve_export.recipes import NLI_ROBERTA


@pytest.fixture(scope="module")
def model():
    return load_preset_recipe(NLI_ROBERTA, NLI_ROBERTA.weights.directory)


def test_the_kept_roberta_is_read_as_a_users_own(model):
    assert 0 == model.parity.unexplained
    assert (LICENCES / "Apache-2.0.txt").read_text(encoding="utf-8") == model.licence
    assert ("token_ids", "padding_mask") == tuple(model.spec.inputs)
    tokens = model.tokenizer.encode("a", " man").tokens
    assert ["<s>", "a", "</s>", "</s>", "\u0120man", "</s>"] == tokens


@pytest.mark.slow  # ten seconds; `test_families` exports a tiny RoBERTa
def test_the_kept_roberta_is_exported_and_holds(model, tmp_path):
    bundle = tmp_path / "nli-roberta"
    manifest = export_model(model, bundle, lambda _: None, ("fused", "int8"))
    assert ["token_ids", "padding_mask"] == manifest["inputs"]
    assert ["portable", "fused", "int8"] == list(manifest["variants"])
    assert all(check.holds for check in verify_bundle(bundle, model))
