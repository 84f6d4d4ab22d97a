"""A tiny BERT with seeded random weights, and its bundle: small enough to export in a test."""

from __future__ import annotations

import fcntl
import gc
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
from semserve_export.bundle.layout import read_bundle_json, read_manifest, write_json
from semserve_export.cli.terminal import choose_backend, held_stderr
from semserve_export.model_spec import ModelSpec, Variant

if TYPE_CHECKING:
    from semserve_export.models.loaded_model import LoadedModel

# ruff: noqa: PLC0415 - the process that hands tests to the others does without Keras

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
VOCABULARY = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *("the", "cat", "sat", "mat", "hello", "world", "sep", "cafe", "今", "日"),
    *".,!?'[]-",
    *LETTERS,
    *(f"##{letter}" for letter in LETTERS),
]
LENGTH_MAX = 48


LONGEST = (
    *("examples", "training", "exports_by_command", "families", "hugging_face_directories"),
    *("heads", "family_variants", "embedder_training", "user_model_rules", "export_call"),
)
"""Files of the most processor time, which come first: one that came last would leave a CPU idle."""


class OneThread(onnxruntime.InferenceSession):
    """A session with one thread: further ones would spin on the CPU of the other test process."""

    def __init__(self, graph: Any, sess_options: Any = None, **more: Any) -> None:
        options = sess_options or onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        super().__init__(graph, options, **more)


def pytest_configure(config: pytest.Config) -> None:
    """Prepare a process that runs tests; the one that hands them to others needs no Keras."""
    onnxruntime.InferenceSession = OneThread
    choose_backend()  # before Keras is first imported, here or by a test
    if hasattr(config, "workerinput") or config.getoption("dist", "no") == "no":
        with held_stderr():
            import keras_hub  # noqa: F401 - whatever TensorFlow prints, it prints here
        gc.freeze()  # a million objects that no collection need look through again


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ranks = {f"test_{name}": rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(ranks)))


@pytest.fixture(scope="session", autouse=True)
def few_texts() -> Iterator[None]:
    """Have exports compare tokenizers, and graphs, on few texts; a tiny model differs on any.

    `test_tokenizer_parity` compares tokenizers on many texts.
    """
    from semserve_export.hugging_face import tokenizer
    from semserve_export.keras_models import keras_hub_source, token_source
    from semserve_export.pipeline import custom_model
    from semserve_export.tokenizers import tf_text_bert
    from semserve_export.variants import gates

    with pytest.MonkeyPatch.context() as patch:
        for module in (custom_model, keras_hub_source, tokenizer):
            patch.setattr(module, "COMPARED_TEXTS", 50)
        for module in (token_source, tf_text_bert):
            patch.setattr(module, "COMPARED_TEXTS", 200)
        patch.setattr(gates, "HELD_OUT", 250)
        patch.setattr(gates, "CALIBRATION", 128)
        yield


@dataclass(frozen=True, slots=True)
class Exported:
    """A model beside the bundle that was made from it."""

    model: LoadedModel
    directory: Path
    manifest: dict[str, Any]


def tiny_backbone(activation: str = "erf", *, dropout: float = 0, layers: int = 2) -> Any:
    """Build layers of 16, with weights so large that every mistake shows."""
    import keras_hub
    from semserve_export.models.activation import set_activation

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
    from semserve_export.models import bert
    from semserve_export.models.loaded_model import LoadedModel
    from semserve_export.tokenizers.bert_wordpiece import build_tokenizer

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


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a directory that the first test process to ask for it makes, for all of them."""
    base = factory.getbasetemp()
    directory = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared" / name
    directory.parent.mkdir(parents=True, exist_ok=True)
    with directory.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not directory.is_dir():
            make(directory)
    return directory


@pytest.fixture(scope="session", params=["embedding", "classification"])
def varied(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A tiny model and its bundle with every variant."""
    from semserve_export.pipeline.export import export_model

    model = load_tiny(request.param)
    names: tuple[Variant, ...] = ("fused", "int8", "fp16")
    directory = made_once(
        tmp_path_factory,
        f"varied-{request.param}",
        lambda place: export_model(model, place, lambda _: None, names),
    )
    return Exported(model, directory, read_manifest(directory))


@pytest.fixture(scope="session")
def exported(varied: Exported, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A tiny model and its bundle without variants.

    It is a copy of `varied` without their files, for a conversion takes seconds;
    `test_the_same_export_twice_gives_the_same_bytes` holds it against an export of its own.
    """

    def leave_out(place: Path) -> None:
        shutil.copytree(varied.directory, place, ignore=shutil.ignore_patterns("model.*.onnx"))
        manifest = read_bundle_json(place / "bundle.json")
        manifest["variants"] = {"portable": manifest["variants"]["portable"]}
        manifest["files"] = {
            name: facts for name, facts in manifest["files"].items() if (place / name).is_file()
        }
        write_json(place / "bundle.json", manifest)

    name = varied.directory.name.replace("varied", "exported")
    directory = made_once(tmp_path_factory, name, leave_out)
    return Exported(varied.model, directory, read_manifest(directory))


@pytest.fixture(scope="session")
def vocabulary() -> list[str]:
    return VOCABULARY


@pytest.fixture(scope="session")
def make_backbone() -> Any:
    return tiny_backbone
