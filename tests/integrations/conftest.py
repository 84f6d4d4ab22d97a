"""A real server over tiny bundles, in the environment of the server, for tests in another one."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv" / "bin" / "python"
WRITE_BUNDLES = "import pathlib, sys, tiny_kinds; tiny_kinds.write_all(pathlib.Path(sys.argv[1]))"
SERVING = "serving on "
os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"  # read when Haystack is imported


CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("SEMSERVE_")}


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a tiny bundle of each kind."""
    models = tmp_path_factory.mktemp("bundles")
    subprocess.run(
        [PYTHON, "-c", WRITE_BUNDLES, models],
        env=CLEAN | {"PYTHONPATH": str(ROOT / "tests")}, check=True, timeout=60,
    )  # fmt: skip
    return models


@pytest.fixture(scope="session")
def address(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server whose default models are tiny-prompted and tiny-score."""
    with served(models, tmp_path_factory.mktemp("calibrations")) as address:
        yield address


@pytest.fixture
def secured(models: Path, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The address of a server that wants a key, and the key."""
    keys = tmp_path / "keys"
    made = subprocess.run(
        [PYTHON, "-m", "semserve_server", "key", "alice", "--file", keys],
        env=CLEAN, check=True, timeout=60, capture_output=True, text=True,
    )  # fmt: skip
    (key,) = re.findall(r"alice\.\S+", made.stdout)
    with served(models, tmp_path, "--api-key-file", keys) as address:
        yield address, key


@contextlib.contextmanager
def served(models: Path, caches: Path, *arguments: str | Path) -> Iterator[str]:
    """Run a server in the environment of the server, and end it."""
    command = (
        PYTHON, "-m", "semserve_server", "--models", models, "--device", "cpu",
        "--address", "127.0.0.1:0", "--default-embedder", "tiny-prompted",
        "--default-scorer", "tiny-score", *arguments,
    )  # fmt: skip
    environment = CLEAN | {"SEMSERVE_CALIBRATION_CACHE": str(caches)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        lines: list[str] = []
        for line in process.stderr:
            lines.append(line)
            if SERVING in line:
                break
        else:
            pytest.fail(f"the server never served: {''.join(lines)}")
        try:
            yield lines[-1].split(SERVING)[1].split(": ")[0]
        finally:
            process.terminate()
            process.communicate(timeout=30)


@pytest.fixture(autouse=True)
def environment(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a user sets, so that adapters need no address."""
    monkeypatch.setenv("SEMSERVE_ADDRESS", address)
    monkeypatch.delenv("SEMSERVE_KEY", raising=False)
