"""A tiny BERT with seeded random weights, and its bundle: small enough to export in a test."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from semserve_export.cli.quiet import choose_backend, held_stderr

# ruff: noqa: E402 - the backend is chosen before Keras is first imported, here or by a test
choose_backend()
with held_stderr():
    import keras_hub

from semserve_export.model_spec import ModelSpec
from semserve_export.models import bert
from semserve_export.models.activation import set_activation
from semserve_export.models.loaded_model import LoadedModel
from semserve_export.pipeline.export import export_model
from semserve_export.tokenizers.bert_wordpiece import build_tokenizer

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
VOCABULARY = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *("the", "cat", "sat", "mat", "hello", "world", "sep", "cafe", "今", "日"),
    *".,!?'[]-",
    *LETTERS,
    *(f"##{letter}" for letter in LETTERS),
]
LENGTH_MAX = 48


@dataclass(frozen=True, slots=True)
class Exported:
    """A model beside the bundle that was made from it."""

    model: LoadedModel
    directory: Path
    manifest: dict[str, Any]


def tiny_backbone(activation: str = "erf", *, dropout: float = 0, layers: int = 2) -> Any:
    """Build layers of 16, with weights so large that every mistake shows."""
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=len(VOCABULARY),
        num_layers=layers,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        max_sequence_length=LENGTH_MAX,
        dropout=dropout,
    )
    set_activation(backbone, activation)
    scramble(backbone)
    return backbone


def scramble(model: Any, seed: int = 3) -> None:
    """Draw every weight anew; what Keras draws is so small that all texts look alike."""
    random = np.random.default_rng(seed)
    for variable in model.weights:
        around = 1 if variable.path.endswith("gamma") else 0
        variable.assign(random.normal(around, 0.4, variable.shape).astype(np.float32))


def load_tiny(task: str) -> LoadedModel:
    """Make the tiny embedder, or the tiny classifier of pairs."""
    if task == "embedding":
        model = bert.make_embedder(tiny_backbone(), "mean", normalize=True)
        facts = {"pooling": "mean", "normalized": True, "metric": "cosine"}
    else:
        model = bert.make_classifier(tiny_backbone(), 3)
        scramble(model)
        facts = {"labels": ("entailment", "neutral", "contradiction"), "pair": True}
    spec = ModelSpec(
        name=f"tiny-{task}",
        description="two layers of random numbers",
        task=task,
        activation="erf",
        max_sequence_length=LENGTH_MAX,
        **facts,
    )
    return LoadedModel(
        spec=spec,
        keras_model=model,
        tokenizer=build_tokenizer(VOCABULARY, lowercase=True, strip_accents=True),
        source="random numbers",
        sha256=None,
        licence="None needed.\n",
        notice="Random numbers.\n",
    )


@pytest.fixture(scope="session", params=["embedding", "classification"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    model = load_tiny(request.param)
    directory = tmp_path_factory.mktemp("models") / model.spec.name
    steps: list[str] = []
    manifest = export_model(model, directory, steps.append)
    assert json.loads((directory / "bundle.json").read_text()) == manifest
    return Exported(model, directory, manifest)


@pytest.fixture(scope="session")
def vocabulary() -> list[str]:
    return VOCABULARY


@pytest.fixture(scope="session")
def make_backbone() -> Any:
    return tiny_backbone
