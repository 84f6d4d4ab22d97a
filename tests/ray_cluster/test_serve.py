"""The deployment of Ray Serve beside the server: the same bytes, statuses and details."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue

import grpc
import pytest
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from semserve.v1 import classification_pb2, embedding_pb2, model_pb2, similarity_pb2

ray = pytest.importorskip("ray", reason="Ray is not there: `make test-ray`")

from ray import serve  # noqa: E402
from semserve_server.errors import ConfigError  # noqa: E402
from semserve_server.ray import deployment  # noqa: E402
from semserve_server.ray.cluster import LOCAL, connected  # noqa: E402

BUNDLES = Path(__file__).parents[1] / "bundles"
Embed, Classify = embedding_pb2.EmbedRequest, classification_pb2.ClassifyRequest
TEXTS = ["a", "the cat sat on the mat", " ".join(["dog"] * 100), "cat"]
PAIR = classification_pb2.ClassifyPair(premise="the cat sat", hypothesis="a cat sits")
SEMSERVE = "/semserve.v1."
UNARY: dict[str, tuple[str, Message | bytes]] = {
    "embed": ("EmbeddingService/Embed", Embed(texts=TEXTS)),
    "dimensions": ("EmbeddingService/Embed", Embed(texts=TEXTS, dimensions=3, normalize=True)),
    "int8": ("EmbeddingService/Embed", Embed(texts=TEXTS, encoding=4)),
    "classify": ("ClassificationService/Classify", Classify(pairs=[PAIR])),
    "compare": (
        "SimilarityService/Compare",
        similarity_pb2.CompareRequest(pairs=[{"left": "cat", "right": "dog"}]),
    ),
    "rank": (
        "SimilarityService/Rank",
        similarity_pb2.RankRequest(query="cat", documents=["dog", "mat", "the cat"]),
    ),
    "tokenize": ("ModelService/Tokenize", model_pb2.TokenizeRequest(texts=["the cat"])),
    "partial": ("EmbeddingService/Embed", Embed(texts=["cat", ""], allow_partial=True)),
    "empty text": ("EmbeddingService/Embed", Embed(texts=["cat", ""])),
    "no texts": ("EmbeddingService/Embed", Embed()),
    "too many texts": ("EmbeddingService/Embed", Embed(texts=["a"] * 3000)),
    "unknown model": ("EmbeddingService/Embed", Embed(texts=["a"], model="absent")),
    "other task": ("EmbeddingService/Embed", Embed(texts=["a"], model="tiny-nli")),
    "missing hypothesis": (
        "ClassificationService/Classify", Classify(pairs=[{"premise": "the cat"}])
    ),
    "no message": ("EmbeddingService/Embed", b"\xff\xff\xff"),
    "no control": ("ModelService/LoadModel", model_pb2.LoadModelRequest(model="tiny-nli")),
    "too large": ("EmbeddingService/Embed", Embed(texts=["a" * 5_000_000])),
}  # fmt: skip
"""Calls by what they are about: method and request."""
Ended = tuple[bytes, str, str, bytes]


@pytest.fixture(scope="module")
def server() -> Iterator[grpc.Channel]:
    """A channel to a server over the tiny bundles."""
    command = (
        sys.executable, "-m", "semserve_server", "--models", BUNDLES, "--device", "cpu",
        "--address", "127.0.0.1:0", "--batch-workers", "1", "--intra-op-threads", "1",
    )  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        output = ""
        for line in process.stderr:
            output += line
            if found := re.search(r"serving on (\S+):", line):
                break
        else:
            pytest.fail(f"the server never served: {output}")
        with grpc.insecure_channel(found[1]) as channel:
            yield channel
        process.terminate()
        process.communicate(timeout=30)


@pytest.fixture(scope="module")
def replica() -> Iterator[grpc.Channel]:
    """A channel to the proxy of Ray Serve, with one replica over the tiny bundles."""
    with connected(LOCAL):
        port = free_port()
        serve.start(
            http_options={"host": "127.0.0.1", "port": free_port()},
            grpc_options={
                "port": port,
                "grpc_servicer_functions": [
                    f"{deployment.__name__}.{deployment.add_services_to_server.__name__}"
                ],
            },
        )
        serve.run(deployment.app({"models": str(BUNDLES), "intra_op_threads": 1}))
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel
        serve.shutdown()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def ended(channel: grpc.Channel, method: str, request: Message | bytes) -> Ended:
    """Return reply, status code, message and details of a call, as they are on the wire."""
    content = request if isinstance(request, bytes) else request.SerializeToString()
    call: Callable[..., bytes] = channel.unary_unary(SEMSERVE + method)
    try:
        return call(content, timeout=30, wait_for_ready=True), "OK", "", b""
    except grpc.RpcError as error:
        trailers = dict(error.trailing_metadata())  # type: ignore[attr-defined]
        details = trailers.get("grpc-status-details-bin", b"")
        return b"", error.code().name, error.details(), details  # type: ignore[attr-defined]


@pytest.mark.parametrize("about", UNARY)
def test_a_replica_answers_as_the_server_does(
    server: grpc.Channel, replica: grpc.Channel, about: str
) -> None:
    method, request = UNARY[about]
    assert ended(server, method, request) == ended(replica, method, request)


def test_a_stream_is_answered_as_by_the_server(server: grpc.Channel, replica: grpc.Channel) -> None:
    kind = embedding_pb2.StreamEmbedRequest
    requests = [kind(id=str(at), request=Embed(texts=[text])) for at, text in enumerate(TEXTS)]
    requests.append(kind(id="bad", request=Embed()))
    messages = [one.SerializeToString() for one in requests] + [b"\xff"]
    answered = conversation(server, messages)
    assert 6 == len(answered)
    assert answered == conversation(replica, messages)


def conversation(channel: grpc.Channel, messages: list[bytes]) -> list[bytes]:
    """Return the reply to each message of a stream, sent one after another as replies come.

    Messages that are sent together share batches, and then the last bits depend on the batch.
    """
    sent: SimpleQueue[bytes | None] = SimpleQueue()
    call = channel.stream_stream(f"{SEMSERVE}EmbeddingService/StreamEmbed")
    stream = call(iter(sent.get, None), timeout=60)
    replies = []
    for message in messages:
        sent.put(message)
        replies.append(next(stream))
    sent.put(None)
    assert [] == list(stream)
    return replies


def test_the_health_of_models_and_services_is_reported(replica: grpc.Channel) -> None:
    check = replica.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    for name in ("", "tiny-embed", "semserve.v1.EmbeddingService"):
        serving = check(health_pb2.HealthCheckRequest(service=name), timeout=30)
        assert health_pb2.HealthCheckResponse.SERVING == serving.status
    with pytest.raises(grpc.RpcError, match="there is no service or model 'absent'"):
        check(health_pb2.HealthCheckRequest(service="absent"), timeout=30)


def test_trailers_carry_the_id_of_the_request_and_the_times(replica: grpc.Channel) -> None:
    call = replica.unary_unary(f"{SEMSERVE}EmbeddingService/Embed")
    content = Embed(texts=["cat"]).SerializeToString()
    _, answered = call.with_call(content, timeout=30, metadata=(("x-request-id", "mine"),))
    trailers = dict(answered.trailing_metadata())
    assert "mine" == trailers["x-request-id"]
    assert trailers["server-timing"].startswith("queue;dur=")


def test_a_setting_that_a_replica_cannot_have_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="models: name the directory"):
        deployment.app({})
    with pytest.raises(ConfigError, match="api_key_file: is no setting of a replica"):
        deployment.app({"models": "models", "api_key_file": "keys"})
