"""The ghz configurations of tests/load/ghz: one for every RPC of texts, and each really runs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from go_tools import GHZ, tool
from google.protobuf import descriptor_pb2

CONFIGURATIONS = sorted((ROOT / "tests" / "load" / "ghz").glob("*.json"))
FEW = {"--total": "24", "--concurrency": "4", "--skipFirst": "4", "--rps": "0"}
"""What a run here is cut down to; all else is as written."""
NO_LOAD = {"semserve.v1.ModelService/LoadModel", "semserve.v1.ModelService/UnloadModel"}
"""RPCs that change what is served, which nobody calls by the thousand."""
NAMED = {"get-model": ("--data", '{"model": "tiny-embed"}')}
"""The configuration that names a model, and the name of one that is served here."""


def read(path: Path) -> dict[str, Any]:
    configuration: dict[str, Any] = json.loads(path.read_text())
    return configuration


pytestmark = pytest.mark.xdist_group("kinds")  # one process starts that server


@pytest.fixture(scope="module")
def ghz() -> str:
    return tool(GHZ)


def test_every_rpc_has_a_configuration() -> None:
    published = descriptor_pb2.FileDescriptorSet.FromString(
        (ROOT / "proto" / "semserve.protoset").read_bytes()
    )
    rpcs = {
        f"{file.package}.{service.name}/{method.name}"
        for file in published.file
        if file.package == "semserve.v1"
        for service in file.service
        for method in service.method
    }
    assert rpcs - NO_LOAD == {read(path)["call"] for path in CONFIGURATIONS}


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.stem)
def test_its_numbers_make_sense(path: Path) -> None:
    """Ghz divides the calls among the workers, and what it skips must leave something over."""
    configuration = read(path)
    assert configuration["total"] >= configuration["concurrency"] >= configuration["connections"]
    assert configuration["skipFirst"] < configuration["total"] / 2
    assert configuration["count-errors"]


@pytest.mark.timeout(600)  # the first run builds ghz from source
@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.stem)
def test_it_runs(ghz: str, kinds_address: str, path: Path) -> None:
    flags = [*(word for pair in FEW.items() for word in pair), *NAMED.get(path.stem, ())]
    ran = subprocess.run(
        [ghz, "--config", str(path), *flags, "--format", "json", kinds_address],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert 0 == ran.returncode, ran.stderr + ran.stdout
    report = json.loads(ran.stdout)
    assert {"OK": 20} == report["statusCodeDistribution"]
    assert read(path)["call"] == report["options"]["call"].removeprefix(".")
