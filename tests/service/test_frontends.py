"""Both gRPC servers answer, refuse, cancel and drain alike: processes, as users start them."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import grpc
import pytest
from conftest import ServerProcess, running_server
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from semserve.v1.embedding_pb2 import EmbedRequest, EmbedResponse, StreamEmbedRequest
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub

DIMENSIONS = 8
CALLS = 100
LATE = (
    grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.OK,
)  # fmt: skip
"""The status of a call with almost no time: gRPC's client may get the reply before its timer."""


@pytest.fixture(params=["completion-queue", "aio"], scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    """A server with a model that computes nothing, on one of both front ends."""
    flags = ("--echo", str(DIMENSIONS), "--frontend", request.param)
    with running_server(*flags, "--max-message-bytes", "100000") as server:
        yield server


@pytest.fixture
async def stub(server: ServerProcess) -> EmbeddingServiceStub:
    """Calls the server on a connection of its own."""
    return EmbeddingServiceStub(grpc.aio.insecure_channel(server.address))


def request(text: str = "a cat") -> EmbedRequest:
    """A request of one text."""
    return EmbedRequest(texts=[text])


def dimensions(response: EmbedResponse) -> list[int]:
    """The number of values of each vector."""
    return [len(result.embedding.values) for result in response.results]


async def status(call: grpc.aio.UnaryUnaryCall) -> grpc.StatusCode:
    """The status of a call, whether it succeeds or not."""
    return await call.code()


async def test_calls_are_answered_with_their_trailers(stub: EmbeddingServiceStub) -> None:
    call = stub.Embed(request(), metadata=(("x-request-id", "a-name"),))
    assert [DIMENSIONS] == dimensions(await call)
    trailers = dict(await call.trailing_metadata())
    assert "a-name" == trailers["x-request-id"]
    assert trailers["server-timing"].startswith("queue;dur=")


async def test_a_stream_answers_every_message_and_ends(stub: EmbeddingServiceStub) -> None:
    stream = stub.StreamEmbed()
    for number in range(CALLS):
        await stream.write(StreamEmbedRequest(id=str(number), request=request()))
    await stream.done_writing()
    names = {reply.id async for reply in stream}
    assert {str(number) for number in range(CALLS)} == names
    assert grpc.StatusCode.OK == await stream.code()


async def test_bad_requests_unknown_methods_and_large_messages_are_refused_by_name(
    stub: EmbeddingServiceStub, server: ServerProcess
) -> None:
    assert grpc.StatusCode.INVALID_ARGUMENT == await status(stub.Embed(EmbedRequest()))
    assert grpc.StatusCode.RESOURCE_EXHAUSTED == await status(stub.Embed(request("a" * 200_000)))
    async with grpc.aio.insecure_channel(server.address) as channel:
        unknown = channel.unary_unary("/semserve.v1.EmbeddingService/Unknown")
        assert grpc.StatusCode.UNIMPLEMENTED == await status(unknown(b""))


async def test_late_and_cancelled_calls_end_and_leave_the_server_serving(
    stub: EmbeddingServiceStub, server: ServerProcess
) -> None:
    many = EmbedRequest(texts=["some words"] * 500)
    for _ in range(CALLS):
        assert await status(stub.Embed(many, timeout=0.000_5)) in LATE
        call = stub.Embed(many)
        call.cancel()
        assert grpc.StatusCode.CANCELLED == await status(call)
    assert [DIMENSIONS] == dimensions(await stub.Embed(request(), timeout=30))
    async with grpc.aio.insecure_channel(server.address) as channel:
        health = await HealthStub(channel).Check(HealthCheckRequest())
    assert HealthCheckResponse.SERVING == health.status


@pytest.mark.parametrize("frontend", ["completion-queue", "aio"])
async def test_a_stream_that_is_open_when_the_server_stops_gets_a_status(frontend: str) -> None:
    with running_server("--echo", "8", "--frontend", frontend) as server:
        async with grpc.aio.insecure_channel(server.address) as channel:
            stream = EmbeddingServiceStub(channel).StreamEmbed()
            await stream.write(StreamEmbedRequest(id="first", request=request()))
            assert "first" == (await stream.read()).id
            server.process.send_signal(signal.SIGTERM)
            assert grpc.StatusCode.UNAVAILABLE == await stream.code()
            assert "stopping" in await stream.details()
        assert 0 == server.process.wait(30)
