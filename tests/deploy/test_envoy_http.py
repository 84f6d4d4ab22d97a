"""JSON, gRPC-Web and OpenAI's API through a real Envoy, with the configuration that we ship."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from conftest import ROOT, running_server
from semserve.v1.embedding_pb2 import EmbedRequest, EmbedResponse
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub

TOOLS = ROOT / ".tools" / "envoy"
ENVOY = TOOLS / "bin" / "envoy"
CONFIGURATION = ROOT / "server" / "deploy" / "envoy"
CALLS = Path(__file__).with_name("openai_calls.py")
TEXTS = ["a man is eating", "two dogs run"]
pytestmark = [
    pytest.mark.skipif(
        not ENVOY.is_file(), reason="Envoy is not installed: run `make .tools/envoy/.ready`"
    ),
    pytest.mark.xdist_group("envoy-http"),
]


@dataclass(frozen=True, slots=True)
class Proxy:
    """A server and an Envoy in front of it."""

    url: str
    server: str

    def ask(self, path: str, body: Any = None) -> tuple[int, Any]:
        """Send JSON; the status and the JSON that came back."""
        request = urllib.request.Request(
            self.url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def proxy(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    place = tmp_path_factory.mktemp("envoy")
    arguments = ("--models", str(tiny_models), "--openai-embeddings")
    with running_server(*arguments) as server:
        port = free_port()
        configuration = (CONFIGURATION / "http.yaml").read_text()
        for old, new in (
            ("/etc/envoy/http.protoset", str(CONFIGURATION / "http.protoset")),
            ("port_value: 8080", f"port_value: {port}"),
            ("port_value: 50051", f"port_value: {server.address.rpartition(':')[2]}"),
        ):
            assert configuration.count(old) == 1
            configuration = configuration.replace(old, new)
        (place / "http.yaml").write_text(configuration)
        process = subprocess.Popen(
            [
                ENVOY, "-c", place / "http.yaml", "--use-dynamic-base-id", "--concurrency", "1",
                "--log-level", "warn",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                # gRPC passes unchanged; the wait ends when Envoy has found the server healthy.
                EmbeddingServiceStub(channel).Embed(
                    EmbedRequest(texts=["a"]), wait_for_ready=True, timeout=30
                )
            yield Proxy(f"http://127.0.0.1:{port}", server.address)
        finally:
            process.terminate()
            process.wait()


@pytest.fixture(scope="module")
def vectors(proxy: Proxy) -> np.ndarray[Any, Any]:
    with grpc.insecure_channel(proxy.server) as channel:
        results = EmbeddingServiceStub(channel).Embed(EmbedRequest(texts=TEXTS)).results
    return np.array([one.embedding.values for one in results], np.float32)


def test_json_gives_the_vectors_of_grpc(proxy: Proxy, vectors: np.ndarray[Any, Any]) -> None:
    code, answer = proxy.ask("/v1/embed", {"texts": TEXTS})
    assert (200, "tiny-embed") == (code, answer["model"])
    values = [one["embedding"]["values"] for one in answer["results"]]
    np.testing.assert_array_equal(vectors, np.array(values, np.float32))


def test_pairs_are_classified_compared_and_ranked(proxy: Proxy) -> None:
    pair = {"premise": TEXTS[0], "hypothesis": TEXTS[1]}
    code, answer = proxy.ask("/v1/classify", {"pairs": [pair]})
    assert 200 == code
    found = answer["results"][0]["classification"]
    scores = {one["label"]: one["score"] for one in found["scores"]}
    assert found["label"] == max(scores, key=lambda label: scores[label])
    code, answer = proxy.ask("/v1/compare", {"pairs": [{"left": "a", "right": "a"}]})
    assert (200, 1.0) == (code, pytest.approx(answer["scores"][0]))
    code, answer = proxy.ask("/v1/rank", {"query": TEXTS[1], "documents": TEXTS})
    assert (200, [1, 0]) == (code, [one["index"] for one in answer["hits"]])


def test_models_are_listed_and_described(proxy: Proxy) -> None:
    _, answer = proxy.ask("/v1/models")
    assert ["tiny-embed", "tiny-nli"] == [one["name"] for one in answer["models"]]
    _, answer = proxy.ask("/v1/models/tiny-nli")
    assert "TASK_CLASSIFICATION" == answer["model"]["task"]


def test_errors_have_the_http_code_and_name_the_field(proxy: Proxy) -> None:
    code, answer = proxy.ask("/v1/embed", {"texts": ["a", ""]})
    assert (400, 3) == (code, answer["code"])
    (violation,) = answer["details"][0]["field_violations"]
    assert "texts[1]" == violation["field"]
    assert 404 == proxy.ask("/v1/models/nobody")[0]


def test_grpc_web_gives_the_vectors_of_grpc(proxy: Proxy, vectors: np.ndarray[Any, Any]) -> None:
    content = EmbedRequest(texts=TEXTS).SerializeToString()
    request = urllib.request.Request(
        f"{proxy.url}/semserve.v1.EmbeddingService/Embed",
        data=b"\0" + len(content).to_bytes(4, "big") + content,
        headers={"content-type": "application/grpc-web+proto", "x-grpc-web": "1"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        body = response.read()
    size = int.from_bytes(body[1:5], "big")
    results = EmbedResponse.FromString(body[5 : 5 + size]).results
    values = [one.embedding.values for one in results]
    np.testing.assert_array_equal(vectors, np.array(values, np.float32))
    assert b"grpc-status:0" in body[5 + size :].replace(b" ", b"")


def test_the_openai_package_gets_the_vectors_of_grpc(
    proxy: Proxy, vectors: np.ndarray[Any, Any]
) -> None:
    done = subprocess.run(
        [TOOLS / "bin" / "python", CALLS, f"{proxy.url}/v1", json.dumps(TEXTS)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    reported = json.loads(done.stdout)
    assert ("tiny-embed", [0, 1]) == (reported["model"], reported["indices"])
    np.testing.assert_array_equal(vectors, np.array(reported["packed"], np.float32))
    # Alone, a text is computed in another batch.
    np.testing.assert_allclose(vectors[0], np.array(reported["plain"], np.float32), atol=1e-5)
    assert reported["tokens"] > 0
    assert {"empty", "ids", "model"} == set(reported["refused"])
    assert "input[0]" in reported["refused"]["ids"]
