"""The Python client can be installed beside TensorFlow, tritonclient and cloud SDKs.

`make client-needs` installs it with the oldest and the newest versions that it allows and calls a
server; what that would find out late, these tests find out from the files.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import tomllib

import pytest
from conftest import ROOT

CLIENT = ROOT / "clients" / "python"
STUBS = sorted((CLIENT / "semserve" / "v1").glob("*_pb2*.py"))
PROJECT = tomllib.loads((CLIENT / "pyproject.toml").read_text())["project"]
# What TensorFlow 2.18 to 2.21 and tritonclient 2.50 and later let be installed beside them.
MOST = {"protobuf": (5, 28), "grpcio": (1, 60), "numpy": (1, 26)}


def oldest(needs: list[str], name: str) -> tuple[int, ...]:
    (found,) = (re.fullmatch(rf"{name}>=([0-9.]+)", need) for need in needs if
                re.match(rf"{name}\b(?!-)", need))  # fmt: skip
    assert found is not None, f"{name} has an upper bound"
    return tuple(map(int, found[1].split(".")))


@pytest.mark.parametrize("name", MOST)
def test_the_library_asks_for_no_newer_version_than_its_neighbours_have(name):
    assert oldest(PROJECT["dependencies"], name) <= MOST[name]


def test_what_only_the_command_needs_is_in_an_extra():
    names = {re.split(r"[^a-z-]", need)[0] for need in PROJECT["dependencies"]}
    assert {"googleapis-common-protos", "grpcio", "grpcio-health-checking", "numpy",
            "protobuf"} == names  # fmt: skip
    extras = PROJECT["optional-dependencies"]
    assert {*extras["cli"]} < {*extras["heatmap"]}


def test_only_the_command_imports_what_its_extra_brings():
    importers = {
        path.relative_to(CLIENT / "semserve").parts[0]
        for path in (CLIENT / "semserve").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import)
            else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        )
        if name.split(".")[0] in {"cyclopts", "rich", "matplotlib"}
    }  # fmt: skip
    assert {"cli"} == importers


def test_the_stubs_refuse_no_version_of_protobuf_or_grpc():
    """Newer compilers write a check into them that fails beside anything older or much newer."""
    assert 12 == len(STUBS)
    for path in STUBS:
        text = path.read_text()
        assert "runtime_version" not in text, path.name
        assert "GRPC_GENERATED_VERSION" not in text, path.name


def test_the_stubs_are_of_a_compiler_before_protobuf_5():
    for path in STUBS:
        if "_grpc" not in path.name:
            (version,) = re.findall(r"# Protobuf Python Version: (\d+)\.", path.read_text())
            assert int(version) < 5


CALLS = """
import asyncio, semserve, sys
assert not {"cyclopts", "rich"} & {*sys.modules}
pair = {"hypothesis": "b", "premise": "a"}
with semserve.Client() as client:
    assert (2, 16) == client.embed(["a", "b"]).vectors.shape
    assert 3 == len(client.classify([pair])[0].scores)
    assert 600 == len(client.embed(["a"] * 600))
    assert 2 == len([*client.stream_embed([["a"], ["b"]])])
    assert (2, 2) == client.matrix(["a", "b"]).scores.shape
    assert "serving" == client.health()
    try:
        client.embed(["", "a"])
    except semserve.InvalidRequest as error:
        assert ["texts[0]"] == [*error.fields]
async def main():
    client = semserve.AsyncClient()
    assert 600 == len(await client.embed(["a"] * 600))
    assert 2 == len([one async for one in client.stream_embed([["a"], ["b"]])])
    await client.close()
asyncio.run(main())
print("answered")
"""


@pytest.mark.venvs
@pytest.mark.timeout(600)
@pytest.mark.parametrize("resolution", ["lowest-direct", "highest"])
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_an_installed_client_calls_a_server(server_address, tmp_path, python, resolution):
    """With the oldest and the newest packages, in an environment of its own."""
    uv = ROOT / ".tools" / "uv" / "bin" / "uv"
    interpreter = os.environ.get(f"PYTHON{python.replace('.', '')}") or shutil.which(
        f"python{python}"
    )
    version = ["-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    if (
        interpreter is None
        or python
        not in subprocess.run(
            [interpreter, *version], capture_output=True, text=True, check=False
        ).stdout
    ):
        pytest.skip(f"Python {python} is not installed")
    if (python, resolution) == ("3.13", "lowest-direct"):
        pytest.skip("grpcio 1.60 and numpy 1.26 have no wheels for Python 3.13")
    wheels, venv = tmp_path / "wheels", tmp_path / "venv"
    subprocess.run([uv, "build", "--quiet", "--wheel", "--out-dir", wheels, CLIENT], check=True)
    (wheel,) = wheels.glob("*.whl")
    subprocess.run([uv, "venv", "--quiet", "--python", interpreter, venv], check=True)
    install = [uv, "pip", "install", "--quiet", "--python", venv, "--only-binary", ":all:"]
    subprocess.run([*install, "--resolution", resolution, wheel], check=True)
    environment = os.environ | {"SEMSERVE_ADDRESS": server_address}
    output = subprocess.run(
        [venv / "bin" / "python", "-W", "error", "-c", CALLS],
        capture_output=True, text=True, check=False, env=environment, cwd=tmp_path,
    )  # fmt: skip
    assert ("answered\n", "", 0) == (output.stdout, output.stderr, output.returncode)
    bare = subprocess.run(
        [venv / "bin" / "semserve", "health"], capture_output=True, text=True, check=False
    )
    assert (1, True) == (bare.returncode, 'pip install "semserve[cli]"' in bare.stderr)
    subprocess.run([*install, "--resolution", resolution, f"{wheel}[cli]"], check=True)
    full = subprocess.run(
        [venv / "bin" / "semserve", "health"],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert ("serving\n", "", 0) == (full.stdout, full.stderr, full.returncode)
