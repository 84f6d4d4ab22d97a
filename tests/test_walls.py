"""The walls between the rooms, as ARCHITECTURE.md states them, held against the imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from conftest import ROOT

SERVER = ROOT / "server" / "semserve_server"
MODULES = sorted(SERVER.rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Yield the full name of every module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def importers(*packages: str) -> set[str]:
    """Return the modules of the server that import any of the packages."""
    return {
        str(path.relative_to(SERVER))
        for path in MODULES
        for name in imports(path)
        if any(name == package or name.startswith(f"{package}.") for package in packages)
    }


def test_only_the_services_know_grpc_and_protobuf() -> None:
    found = importers("grpc", "google", "semserve.v1", "grpc_health", "grpc_reflection")
    assert {"services"} == {name.split("/")[0] for name in found}


def test_only_the_session_knows_onnxruntime() -> None:
    assert {"session.py"} == importers("onnxruntime")


def test_only_the_tokenizer_knows_tokenizers() -> None:
    assert {"tokenizer.py"} == importers("tokenizers")


def test_the_batch_queue_has_no_clock_and_no_loop() -> None:
    assert not {"asyncio", "time", "threading"} & set(imports(SERVER / "batch_queue.py"))


def test_the_tokenizer_and_the_session_have_no_loop() -> None:
    assert not importers("asyncio") & {"tokenizer.py", "session.py", "bundle.py"}


def test_only_the_entry_point_reads_argv_and_the_environment() -> None:
    readers = {
        path.name
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in {"argv", "environ", "getenv"}
    }
    assert {"__main__.py"} == readers


def test_nothing_sleeps() -> None:
    """What waits, waits for something to happen."""
    assert [] == [path.name for path in MODULES if "sleep(" in path.read_text()]


@pytest.mark.parametrize("name", ["tensorflow", "keras", "keras-hub", "torch", "semserve-export"])
def test_the_servers_environment_has_no_training_in_it(name: str) -> None:
    with pytest.raises(metadata.PackageNotFoundError):
        metadata.version(name)


def test_the_locked_server_has_no_training_in_it() -> None:
    for lock in ("server-cpu.txt", "server-gpu.txt"):
        names = {
            line.split("==")[0]
            for line in (ROOT / "requirements" / lock).read_text().splitlines()
            if "==" in line
        }
        assert "grpcio" in names
        assert not {"tensorflow", "keras", "keras-hub", "torch", "tf2onnx"} & names


def test_the_server_runs_without_the_export_stage() -> None:
    """Importing the whole server loads nothing of the export stage or of training."""
    code = (
        "import sys, semserve_server.server\n"
        "training = {'semserve_export', 'tensorflow', 'keras', 'torch', 'matplotlib'}\n"
        "sys.exit(str(training & set(sys.modules)) if training & set(sys.modules) else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
