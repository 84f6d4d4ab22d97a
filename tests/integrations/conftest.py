"""A real server over tiny bundles, in the environment of the server, for tests in another one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv" / "bin" / "python"
WRITE_BUNDLES = "import pathlib, sys, tiny_kinds; tiny_kinds.write_all(pathlib.Path(sys.argv[1]))"
SERVING = "serving on "
os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"  # read when Haystack is imported


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server whose default models are tiny-prompted and tiny-score."""
    models = tmp_path_factory.mktemp("bundles")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SEMSERVE_")}
    subprocess.run(
        [PYTHON, "-c", WRITE_BUNDLES, models],
        env=clean | {"PYTHONPATH": str(ROOT / "tests")}, check=True, timeout=60,
    )  # fmt: skip
    arguments = (
        "--models", models, "--device", "cpu", "--address", "127.0.0.1:0",
        "--default-embedder", "tiny-prompted", "--default-scorer", "tiny-score",
    )  # fmt: skip
    caches = {"SEMSERVE_CALIBRATION_CACHE": str(tmp_path_factory.mktemp("calibrations"))}
    with subprocess.Popen(
        [PYTHON, "-m", "semserve_server", *arguments],
        stderr=subprocess.PIPE, text=True, env=clean | caches,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        lines: list[str] = []
        for line in process.stderr:
            lines.append(line)
            if SERVING in line:
                break
        else:
            pytest.fail(f"the server never served: {''.join(lines)}")
        yield lines[-1].split(SERVING)[1].split(": ")[0]
        process.terminate()
        process.communicate(timeout=30)


@pytest.fixture(autouse=True)
def environment(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a user sets, so that adapters need no address."""
    monkeypatch.setenv("SEMSERVE_ADDRESS", address)
    monkeypatch.delenv("SEMSERVE_KEY", raising=False)
