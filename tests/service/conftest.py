"""Fixtures: a server whose bundles may change."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
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
