"""What `--device` does with onnxruntime-gpu where there is no GPU. `make test-gpu` runs this."""

from __future__ import annotations

import subprocess
import sys

import onnxruntime as ort
import pytest
from conftest import TINY

pytestmark = pytest.mark.skipif(
    "CUDAExecutionProvider" not in ort.get_available_providers(),
    reason="needs onnxruntime-gpu: run `make test-gpu`",
)


def ended(*flags: str) -> subprocess.CompletedProcess[str]:
    """Start a server that cannot start."""
    command = [sys.executable, "-m", "semserve_server", "--models", str(TINY)]
    return subprocess.run(
        [*command, "--address", "127.0.0.1:0", *flags],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("device", ["cuda", "cuda:0,1", "tensorrt"])
def test_a_missing_library_is_named_in_one_line_without_the_runtimes_own(device: str) -> None:
    from semserve_server.cuda.libraries import cuda_problem  # noqa: PLC0415

    if not cuda_problem():
        pytest.skip("this machine has a GPU")
    found = ended("--device", device)
    assert 2 == found.returncode
    assert "" == found.stdout
    (line,) = found.stderr.splitlines()
    assert f"--device {device}: lib" in line
    assert "is missing: " in line
    assert line.endswith("or start with --device cpu")


def test_auto_serves_on_the_cpu() -> None:
    from conftest import running_server  # noqa: PLC0415

    flags = ("--default-embedder", "tiny-embed", "--default-classifier", "tiny-nli")
    with running_server("--models", str(TINY), "--device", "auto", *flags) as server:
        assert "on CPUExecutionProvider" in server.line
