"""Fixtures: a server whose bundles may change, and one of every kind of model."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest
import tiny_kinds
from conftest import running_server
from controlled import NAME, Controlled, serving


@pytest.fixture
def directory(tiny_models: Path, tmp_path: Path) -> Path:
    for name in (NAME, "tiny-nli"):
        shutil.copytree(tiny_models / name, tmp_path / "models" / name)
    return tmp_path / "models"


@pytest.fixture
async def served(directory: Path) -> AsyncIterator[Controlled]:
    async with serving(directory) as controlled:
        yield controlled


@pytest.fixture(scope="session")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a bundle of each of `tiny_kinds`."""
    return tiny_kinds.write_all(tmp_path_factory.mktemp("kinds"))


@pytest.fixture(scope="session")
def kinds_channel(kinds: Path) -> Iterator[grpc.Channel]:
    """A channel to a real `semserve-server` process over a model of each kind.

    Tests that use it are in the xdist group "kinds", so that one process of pytest starts it.
    """
    with running_server("--models", str(kinds), "--device", "cpu") as server:
        yield grpc.insecure_channel(server.address)
