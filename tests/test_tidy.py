"""What keeps the repository in order: sizes, versions, locks, generated code."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from conftest import ROOT

LARGEST_FILE = 20_000_000
LARGEST_REPOSITORY = 100_000_000
LONGEST_MODULE = 300


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("this is no git checkout")
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_files_and_the_repository_stay_small(tracked: list[Path]) -> None:
    sizes = {path: path.stat().st_size for path in tracked}
    assert not [path for path, size in sizes.items() if size > LARGEST_FILE]
    assert sum(sizes.values()) < LARGEST_REPOSITORY


def test_modules_fit_a_reader(tracked: list[Path]) -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in tracked
        if path.suffix in {".py", ".go"} and "_pb2" not in path.name and ".pb." not in path.name
        if (lines := len(path.read_text().splitlines())) > LONGEST_MODULE
    }
    assert {} == long


def test_every_distribution_has_the_same_version() -> None:
    manifests = ["server/pyproject.toml", "export/pyproject.toml", "clients/python/pyproject.toml"]
    versions = {
        name: tomllib.loads((ROOT / name).read_text())["project"]["version"] for name in manifests
    }
    assert 1 == len(set(versions.values())), versions


def test_locks_carry_hashes_and_no_download_addresses(tracked: list[Path]) -> None:
    locks = [
        path for path in tracked if path.parent.name == "requirements" and path.suffix == ".txt"
    ]
    names = (
        "dev", "envoy", "export", "heatmap", "integrations", "proto",
        "ray", "server-cpu", "server-gpu", "triton", "uv",
    )  # fmt: skip
    assert {f"{name}.txt" for name in names} == {path.name for path in locks}
    for path in locks:
        text = path.read_text()
        assert "://" not in text
        assert text.count("==") <= text.count("--hash=sha256:")


def test_generated_code_is_told_apart(tracked: list[Path]) -> None:
    generated = [path for path in tracked if re.search(r"_pb2(_grpc)?\.py$", path.name)]
    assert generated
    for path in generated:
        assert "DO NOT EDIT" in path.read_text()
