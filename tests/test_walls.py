"""The layers and the rules of ARCHITECTURE.md, held against the imports of the code."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
from conftest import ROOT

SERVER = ROOT / "server" / "semserve_server"
MODULES = sorted(SERVER.rglob("*.py"))
SERVER_LAYERS = (
    "errors", "config", "system", "instrumentation", "auth", "runtime", "graph_cache",
    "repository", "request_checks", "scheduling", "engine", "cuda", "registry", "observability",
    "supervision", "rpc", "completion_queue", "services", "library", "facades", "frontend",
    "server", "processes", "__main__", "ray",
)  # fmt: skip
"""The folders and modules of the server, each above those that it may import."""
EXPORT = ROOT / "export" / "semserve_export"
EXPORT_LAYERS = (
    "errors", "argument_names", "number_bounds", "failures", "model_spec", "report",
    "encoder_weights", "options", "files", "confinement", "untrusted", "tokenizers", "bundle",
    "recipes", "data", "models", "graphs", "hugging_face", "variants", "keras_models", "towers",
    "tf_hub", "pipeline", "distillation", "training", "word_vectors", "embedder_training", "api",
    "__init__", "cli", "__main__",
)  # fmt: skip
"""The same of the export stage."""
CLIENT = ROOT / "clients" / "python" / "semserve"
CLIENT_LAYERS = (
    "v1", "errors", "connection", "requests", "calls", "transport", "model_client", "client",
    "async_client", "__init__", "integrations", "bulk", "cli", "__main__",
)  # fmt: skip
"""The same of the Python client."""
PACKAGES = ((SERVER, SERVER_LAYERS), (EXPORT, EXPORT_LAYERS), (CLIENT, CLIENT_LAYERS))


@cache
def imports(path: Path) -> tuple[str, ...]:
    """Return the full name of every module that a file imports, wherever in it."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[str]:
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


def parts(package: Path) -> dict[str, set[str]]:
    """Return what each folder, and each module beside the folders, imports of the package.

    Args:
        package: its directory.
    """
    found: dict[str, set[str]] = {}
    for path in sorted(package.rglob("*.py")):
        own = path.relative_to(package).with_suffix("").parts[0]
        for name in imports(path):
            _, _, rest = name.partition(f"{package.name}.")
            other = rest.split(".")[0]
            if other and other != own:
                found.setdefault(own, set()).add(other)
    return found


@pytest.mark.parametrize(("package", "layers"), PACKAGES)
def test_imports_between_folders_point_one_way(package: Path, layers: tuple[str, ...]) -> None:
    """Each part imports only parts that stand before it in the list."""
    upward = {
        f"{own} imports {other}"
        for own, others in parts(package).items()
        for other in others
        if layers.index(other) > layers.index(own)
    }
    assert set() == upward


@pytest.mark.parametrize("package", [SERVER, EXPORT, CLIENT])
def test_a_folder_has_a_charter_of_one_line_and_few_modules(package: Path) -> None:
    for folder in {path.parent for path in package.rglob("*.py")} - {package}:
        charter = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
        assert charter.endswith("."), folder
        assert 1 == len(charter.splitlines()), folder
        modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert 14 >= len(modules), f"{folder} has {len(modules)} modules: divide it"


def test_only_the_front_end_and_the_services_know_grpc_and_protobuf() -> None:
    found = importers("grpc", "google", "semserve.v1", "grpc_health", "grpc_reflection")
    assert {"completion_queue", "facades", "frontend", "ray", "rpc", "services"} == {
        name.split("/")[0] for name in found
    }
    serving = {"call_context.py", "deployment.py", "replica_services.py"}
    assert {f"ray/{name}" for name in serving} == {one for one in found if one.startswith("ray/")}


def test_only_the_folder_of_ray_knows_ray_and_nothing_imports_the_folder() -> None:
    assert {"ray"} == {name.split("/")[0] for name in importers("ray", "pyarrow")}
    assert {"ray"} == {name.split("/")[0] for name in importers("semserve_server.ray")}


def test_only_the_sessions_know_onnxruntime() -> None:
    assert {"cuda", "runtime"} == {name.split("/")[0] for name in importers("onnxruntime")}


def test_only_the_tokenizer_knows_tokenizers() -> None:
    assert {"runtime/tokenizer.py"} == importers("tokenizers")


def test_the_queues_have_no_clock_and_no_loop() -> None:
    folder = SERVER / "scheduling"
    queues = [folder / f"{name}_queue.py" for name in ("batch", "fair", "caller")]
    for path in (*queues, *(folder / "selection").glob("*.py")):
        used = set(imports(path))
        assert not {"asyncio", "time", "threading"} & used


def test_the_tokenizer_the_session_and_the_repository_have_no_loop() -> None:
    found = importers("asyncio")
    assert not {"runtime/tokenizer.py", "runtime/session.py"} & found
    assert not {name for name in found if name.startswith("repository/")}


def test_only_the_entry_points_read_argv_and_the_environment() -> None:
    attributes = re.compile(r"\b(argv|environ|getenv)\b")  # few modules are parsed
    readers = {
        str(path.relative_to(SERVER))
        for path in MODULES
        if attributes.search(path.read_text())
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in {"argv", "environ", "getenv"}
    }
    workers = {"ray/__main__.py", "ray/batches.py"}  # the command, and what starts in each actor
    assert {"__main__.py", "library/opening.py"} | workers == readers


def test_nothing_sleeps() -> None:
    """What waits, waits for something to happen."""
    assert [] == [path.name for path in MODULES if "sleep(" in path.read_text()]


@pytest.mark.parametrize("name", ["tensorflow", "keras", "keras-hub", "torch", "semserve-export"])
def test_the_servers_environment_has_no_training_in_it(name: str) -> None:
    with pytest.raises(metadata.PackageNotFoundError):
        metadata.version(name)


def test_the_locked_server_has_no_training_and_no_drawing_in_it() -> None:
    for lock in ("server-cpu.txt", "server-gpu.txt"):
        names = {
            line.split("==")[0]
            for line in (ROOT / "requirements" / lock).read_text().splitlines()
            if "==" in line
        }
        assert "grpcio" in names
        assert not {"tensorflow", "keras", "keras-hub", "torch", "tf2onnx", "matplotlib"} & names


def test_the_server_runs_without_the_export_stage() -> None:
    """Importing the whole server loads nothing of the export stage or of training."""
    code = (
        "import sys, semserve_server.server\n"
        "training = {'semserve_export', 'tensorflow', 'keras', 'torch', 'matplotlib'}\n"
        "sys.exit(str(training & set(sys.modules)) if training & set(sys.modules) else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
