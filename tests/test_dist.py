"""What `make dist` builds can be installed, and what is installed serves."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT, SERVING, start_server, wait_for_line

UV = ROOT / ".tools" / "uv" / "bin" / "uv"
PROJECTS = {
    "semserve": ROOT / "clients" / "python",
    "semserve_server": ROOT / "server",
    "semserve_export": ROOT / "export",
}
CALLS = """
import sys, semserve
with semserve.Client(sys.argv[1]) as client:
    assert (1, 16) == client.embed(["a"]).vectors.shape
    print(client.classify([("a", "b")])[0].label)
"""


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build what `make dist` builds."""
    place = tmp_path_factory.mktemp("dist")
    subprocess.run(["make", "--no-print-directory", "dist", f"DIST={place}"], cwd=ROOT, check=True)
    return place


def test_there_are_three_wheels_and_three_archives_with_a_licence(dist: Path) -> None:
    assert 3 == len([*dist.glob("*.whl")])
    assert 3 == len([*dist.glob("*.tar.gz")])
    for name in PROJECTS:
        (wheel,) = dist.glob(f"{name}-*.whl")
        files = zipfile.ZipFile(wheel).namelist()
        assert any(file.endswith("licenses/LICENSE") for file in files), wheel.name
        assert not [file for file in files if "test" in file.split("/")[0]]
        (archive,) = dist.glob(f"{name}-*.tar.gz")
        with tarfile.open(archive) as tar:
            names = [member.name.split("/", 1)[-1] for member in tar.getmembers()]
        assert {"pyproject.toml", "README.md", "LICENSE"} <= set(names), archive.name


def test_the_wheel_of_the_export_has_its_schemas_licences_and_adapters(dist: Path) -> None:
    (wheel,) = dist.glob("semserve_export-*.whl")
    files = zipfile.ZipFile(wheel).namelist()
    for part in ("schemas/bundle.schema.json", "adapters/nli-minilm/adapter.safetensors"):
        assert f"semserve_export/{part}" in files
    assert any(file.startswith("semserve_export/licences/") for file in files)


@pytest.mark.venvs
@pytest.mark.timeout(600)
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_the_wheels_serve_in_a_clean_environment(
    dist: Path, tmp_path: Path, tiny_models: Path, python: str
) -> None:
    interpreter = shutil.which(f"python{python}")
    reported = ["-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    if (
        interpreter is None
        or python
        != subprocess.run(
            [interpreter, *reported], capture_output=True, text=True, check=False
        ).stdout.strip()
    ):
        pytest.skip(f"Python {python} is not installed")
    subprocess.run([UV, "venv", "--quiet", "--python", interpreter, tmp_path / "venv"], check=True)
    (server,) = dist.glob("semserve_server-*.whl")
    subprocess.run(
        [UV, "pip", "install", "--quiet", "--python", tmp_path / "venv", "--find-links", dist,
         "--only-binary", ":all:", f"{server}[cpu]"],
        check=True,
    )  # fmt: skip
    command = [str(tmp_path / "venv" / "bin" / "semserve-server")]
    process = start_server("--models", str(tiny_models), command=command)
    try:
        address = wait_for_line(process).split(SERVING)[1].split(": ")[0]
        done = subprocess.run(
            [tmp_path / "venv" / "bin" / "python", "-c", CALLS, address],
            capture_output=True, text=True, check=False, cwd=tmp_path, env=os.environ,
        )  # fmt: skip
        assert 0 == done.returncode, done.stderr
        assert done.stdout.strip() in {"entailment", "neutral", "contradiction"}
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert 0 == process.returncode


@pytest.mark.parametrize("project", PROJECTS.values(), ids=PROJECTS)
def test_each_distribution_has_the_licence_of_the_repository(project: Path) -> None:
    assert (ROOT / "LICENSE").read_bytes() == (project / "LICENSE").read_bytes()
