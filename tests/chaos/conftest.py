"""Fixtures: a server of its own for what strangers do, and the answers that are right."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.answers import Answers, compute
from chaos.server import TINY, Server, serving
from chaos.trouble import make_troubled


@pytest.fixture(scope="package")
def chaos_server() -> Iterator[Server]:
    """A server over the tiny models that outlives everything that the tests do to it."""
    with serving() as server:
        yield server
        assert server.lives, server.said
        assert "Traceback" not in server.said
        assert "This is a bug" not in server.said


@pytest.fixture(scope="package")
def answers() -> Answers:
    """What the tiny models must answer."""
    return compute(TINY, count=100, seed=5)


@pytest.fixture
def troubled(tmp_path: Path) -> Path:
    """A directory with a bundle that certain words trouble."""
    make_troubled(tmp_path)
    return tmp_path
