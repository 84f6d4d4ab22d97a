"""The clients and the command load and unload models, where the server allows it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import running_server
from controlled import describe
from semserve import ModelNotFound, PermissionDenied, SemserveError


@pytest.fixture(scope="module")
def models_directory(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("control") / "models"
    for name in ("tiny-embed", "tiny-nli"):
        shutil.copytree(tiny_models / name, directory / name)
    return directory


@pytest.fixture(scope="module")
def controlled_address(models_directory: Path) -> Iterator[str]:
    with running_server("--models", str(models_directory), "--allow-model-control") as server:
        yield server.address


def test_a_model_is_unloaded_and_loaded_again(ask, controlled_address) -> None:
    assert ask(controlled_address, {}, "unload_model", "tiny-nli") is None
    states = {one.name: one.state for one in ask(controlled_address, {}, "models")}
    assert {"tiny-embed": "ready", "tiny-nli": "unloaded"} == states
    with pytest.raises(ModelNotFound):
        ask(controlled_address, {}, "unload_model", "tiny-nli")
    loaded = ask(controlled_address, {}, "load_model", "tiny-nli")
    assert loaded == ask(controlled_address, {}, "model", "tiny-nli")


def test_a_bundle_that_cannot_be_served_is_told_of(
    ask, controlled_address, models_directory
) -> None:
    tokenizer = (models_directory / "tiny-nli" / "tokenizer.json").read_bytes()
    describe(models_directory / "tiny-nli", "bad", tokenizer=b"{}")
    with pytest.raises(SemserveError, match="cannot be loaded") as failed:
        ask(controlled_address, {}, "load_model", "tiny-nli")
    assert "FAILED_PRECONDITION" == failed.value.code
    assert str(failed.value) == ask(controlled_address, {}, "model", "tiny-nli").reload_error
    describe(models_directory / "tiny-nli", "good", tokenizer=tokenizer)
    assert "good" == ask(controlled_address, {}, "load_model", "tiny-nli").description


def test_it_must_be_allowed(ask, server_address) -> None:
    with pytest.raises(PermissionDenied, match="--allow-model-control"):
        ask(server_address, {}, "load_model", "tiny-nli")


def test_the_command_loads_and_unloads(run, controlled_address) -> None:
    there = ("--address", controlled_address)
    assert "tiny-nli is no longer served\n" == run("models", "unload", "tiny-nli", *there).out
    (line,) = [one for one in run("models", *there).out.splitlines() if "tiny-nli" in one]
    assert ["tiny-nli", "unloaded"] == line.split()
    assert run(*there, "models", "load", "tiny-nli").out.startswith("tiny-nli is served, digest ")
    loaded = run("models", "load", "tiny-nli", *there, "--output", "json").document
    assert ["entailment", "neutral", "contradiction"] == loaded["labels"]
    assert {"name": "tiny-nli"} == run(
        "models", "unload", "tiny-nli", *there, "--output", "json"
    ).document
    assert 1 == run("models", "unload", "tiny-nli", *there).code
    assert 0 == run("models", "load", "tiny-nli", *there).code
