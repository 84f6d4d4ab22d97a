"""Sizes of real models: a vocabulary of 250,002 pieces, and twelve layers that are 768 wide."""

import json

import keras_hub
import numpy as np
import pytest
from parity.conftest import VOCABULARY
from semserve_export.bundle.schema import max_json_bytes
from semserve_export.model_spec import ModelSpec
from semserve_export.models import bert
from semserve_export.models.loaded_model import LoadedModel
from semserve_export.pipeline.export import export_model
from semserve_export.tokenizers.bert_wordpiece import build_tokenizer, save_tokenizer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

PIECES = 250_002  # of XLM-RoBERTa


def test_the_tokenizer_of_an_xlm_roberta_is_as_small_as_the_server_demands(tmp_path):
    random = np.random.default_rng(1)
    places = (*range(0x61, 0x7B), *range(0x430, 0x450), *range(0x4E00, 0x4E20))
    letters = np.array([*map(chr, places)])  # Latin, Cyrillic, Chinese
    words = random.choice(letters, (PIECES, 6))
    pieces = [
        (f"▁{''.join(word)}{place:x}", -float(score))
        for place, (word, score) in enumerate(
            zip(words, random.uniform(3, 20, PIECES), strict=True)
        )
    ]
    tokenizer = Tokenizer(models.Unigram(pieces, 0, byte_fallback=False))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    save_tokenizer(tokenizer, tmp_path / "tokenizer.json")
    assert len(tokenizer.to_str(pretty=True).encode()) > max_json_bytes()
    size = (tmp_path / "tokenizer.json").stat().st_size
    assert size <= max_json_bytes()
    assert PIECES == len(json.loads((tmp_path / "tokenizer.json").read_bytes())["model"]["vocab"])


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_twelve_layers_768_wide_whose_outputs_reach_ten_are_exported(tmp_path):
    """The differences are 2e-5 of values that reach 10: past 1e-5, and 2e-6 of a row's scale."""
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=len(VOCABULARY), num_layers=12, num_heads=12, hidden_dim=768,
        intermediate_dim=3072, max_sequence_length=128, dropout=0,
    )  # fmt: skip
    draw = np.random.default_rng(5).normal
    for variable in backbone.weights:
        if variable.path.endswith("gamma"):
            mean, spread = 3 if "transformer_layer_11" in variable.path else 1, 0.3
        else:
            mean, spread = 0, 0.04 if variable.path.endswith("kernel") else 0.1
        variable.assign(draw(mean, spread, variable.shape).astype(np.float32))
    spec = ModelSpec(
        name="wide", description="random numbers", task="embedding", activation="tanh",
        max_sequence_length=128, pooling="cls", normalized=False, metric="cosine",
    )  # fmt: skip
    model = LoadedModel(
        spec=spec,
        keras_model=bert.make_embedder(backbone, "cls", normalize=False),
        tokenizer=build_tokenizer(VOCABULARY, lowercase=True, strip_accents=True),
        source="random numbers", sha256=None, licence="None.\n", notice="None.\n",
    )  # fmt: skip
    manifest = export_model(model, tmp_path / "wide", lambda _: None, ("fused",))
    golden = json.loads((tmp_path / "wide" / "golden.json").read_text(encoding="utf-8"))
    assert max(max(map(abs, case["embedding"])) for case in golden["cases"]) > 9
    assert 1e-5 < manifest["variants"]["portable"]["max_abs_difference"] < 1e-4
    assert {"portable", "fused"} == set(manifest["variants"])
