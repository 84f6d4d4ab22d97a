"""ghz and grpcurl, as a newcomer runs them: by reflection, without a proto file."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from go_tools import GHZ, GRPCURL, tool

CALLS = {
    "EmbeddingService/Embed": {"texts": ["hello world"]},
    "ClassificationService/Classify": {"pairs": [{"premise": "a cat", "hypothesis": "a dog"}]},
    "SimilarityService/Compare": {"pairs": [{"left": "a cat", "right": "a dog"}]},
    "SimilarityService/Rank": {"query": "a cat", "documents": ["a dog", "two cats"]},
    "SimilarityService/Search": {"queries": ["a cat"], "corpus": ["a dog", "two cats"]},
    "SimilarityService/Matrix": {"left": ["a cat", "a dog"]},
    "ModelService/ListModels": {},
    "ModelService/GetModel": {"model": "tiny-nli"},
    "ModelService/Tokenize": {"texts": ["hello world"]},
    "ModelService/GetServerInfo": {},
}
OF_OTHER_TASKS = {
    "ScoreService/Score": {"pairs": [{"left": "a cat", "right": "a dog"}]},
    "ScoreService/Rerank": {"query": "a cat", "documents": ["a dog", "two cats"]},
    "EmbeddingService/EmbedSparse": {"texts": ["hello world"]},
}

pytestmark = pytest.mark.xdist_group("kinds")  # where ghz is used: one process builds it


@pytest.fixture(scope="module")
def ghz() -> str:
    return tool(GHZ)


@pytest.fixture(scope="module")
def grpcurl() -> str:
    return tool(GRPCURL)


@pytest.mark.timeout(600)  # the first run builds ghz from source
@pytest.mark.parametrize("method", CALLS)
def test_ghz_calls_every_unary_method(ghz: str, server_address: str, method: str) -> None:
    report = run_ghz(ghz, server_address, method, "-d", json.dumps(CALLS[method]), "-n", "20")
    assert {"OK": 20} == report["statusCodeDistribution"]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("method", OF_OTHER_TASKS)
def test_ghz_calls_methods_of_other_tasks(ghz: str, kinds_address: str, method: str) -> None:
    data = json.dumps(OF_OTHER_TASKS[method])
    report = run_ghz(ghz, kinds_address, method, "-d", data, "-n", "20")
    assert {"OK": 20} == report["statusCodeDistribution"]


@pytest.mark.timeout(600)
def test_ghz_runs_the_readmes_line(ghz: str, server_address: str) -> None:
    report = run_ghz(
        ghz, server_address, "EmbeddingService/Embed",
        "-d", '{"texts":["hello world"]}', "-n", "200", "-c", "8",
    )  # fmt: skip
    assert {"OK": 200} == report["statusCodeDistribution"]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("method", "request_"), [
    ("EmbeddingService/StreamEmbed", {"texts": ["hello world"]}),
    ("ClassificationService/StreamClassify", {
        "pairs": [{"premise": "a cat", "hypothesis": "a dog"}]
    }),
])  # fmt: skip
def test_ghz_streams(
    ghz: str, server_address: str, tmp_path: Path, method: str, request_: dict[str, object]
) -> None:
    messages = [{"id": str(number), "request": request_} for number in range(10)]
    data = tmp_path / "messages.json"
    data.write_text(json.dumps(messages))
    report = run_ghz(ghz, server_address, method, "-D", str(data), "-n", "8")
    assert {"OK": 8} == report["statusCodeDistribution"]


def run_ghz(ghz: str, address: str, method: str, *arguments: str) -> dict[str, object]:
    """Run ghz by reflection; its report."""
    workers = [] if "-c" in arguments else ["-c", "4"]
    ran = subprocess.run(
        [ghz, "--insecure", "--call", f"semserve.v1.{method}", "-O", "json", *workers, *arguments,
         address],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )  # fmt: skip
    assert 0 == ran.returncode, ran.stderr + ran.stdout
    return json.loads(ran.stdout)


@pytest.mark.timeout(600)
def test_grpcurl_describes_lists_and_calls(grpcurl: str, server_address: str) -> None:
    def say(*arguments: str) -> str:
        return subprocess.run(
            [grpcurl, "-plaintext", *arguments],
            capture_output=True, text=True, check=True, timeout=60,
        ).stdout  # fmt: skip

    assert "semserve.v1.EmbeddingService" in say(server_address, "list")
    assert "rpc Embed" in say(server_address, "describe", "semserve.v1.EmbeddingService")
    called = say("-d", '{"texts":["a"]}', server_address, "semserve.v1.EmbeddingService/Embed")
    assert 16 == len(json.loads(called)["results"][0]["embedding"]["values"])
