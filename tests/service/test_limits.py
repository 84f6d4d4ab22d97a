"""Each bound of connections, calls and streams, and that others are served beside it."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from asking import refusal
from conftest import SMALL_LIMITS, InProcess, in_process
from google.rpc import error_details_pb2, status_pb2
from semserve.v1.embedding_pb2 import EmbedRequest, StreamEmbedRequest
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub

EMBED = EmbedRequest(texts=["a cat"])
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
ACKNOWLEDGE = bytes([0, 0, 0, 4, 1, 0, 0, 0, 0])


def limited(models: Path, **bounds: float) -> AbstractAsyncContextManager[InProcess]:
    """Serve with bounds of the test's own."""
    return in_process(models, limits=replace(SMALL_LIMITS, **bounds))


async def connect(server: InProcess) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = server.address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def silent(server: InProcess) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect, greet as HTTP/2 does, and say nothing more; returns when the server has greeted."""
    reader, writer = await connect(server)
    writer.write(PREFACE + SETTINGS + ACKNOWLEDGE)
    await reader.readexactly(len(SETTINGS))
    return reader, writer


async def end(reader: asyncio.StreamReader) -> bytes:
    """Read until the server closes, which it may do without a word."""
    content = b""
    try:
        while block := await reader.read(4096):
            content += block
    except ConnectionResetError:
        pass
    return content


async def answers(server: InProcess) -> None:
    """Ask by a connection that is not kept."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(server.address, options) as channel:
        assert await EmbeddingServiceStub(channel).Embed(EMBED, wait_for_ready=True, timeout=60)


async def test_connections_past_the_bound_are_closed_and_those_within_it_served(
    tiny_models: Path,
) -> None:
    async with limited(tiny_models, max_connections=3) as server:
        stub = EmbeddingServiceStub(server.channel)
        assert await stub.Embed(EMBED)
        held = [await silent(server) for _ in range(2)]
        for _ in range(5):
            reader, writer = await connect(server)
            assert b"" == await end(reader)
            writer.close()
        assert await stub.Embed(EMBED)
        for _, writer in held:
            writer.close()
        await answers(server)


async def test_a_connection_that_says_nothing_is_closed(tiny_models: Path) -> None:
    async with limited(tiny_models, handshake_timeout=0.3) as server:
        reader, writer = await connect(server)
        assert b"handshake timeout" in await end(reader)
        writer.close()


async def test_a_client_that_answers_no_ping_is_gone(tiny_models: Path) -> None:
    async with limited(tiny_models, keepalive_time=0.2, keepalive_timeout=0.2) as server:
        reader, writer = await silent(server)
        assert b"ping_timeout" in await end(reader)
        writer.close()


@pytest.mark.parametrize("bound", ["max_connection_idle", "max_connection_age"])
async def test_a_connection_ends_by_idleness_or_age_and_another_serves(
    tiny_models: Path, bound: str
) -> None:
    async with limited(tiny_models, **{bound: 0.3}) as server:
        stub = EmbeddingServiceStub(server.channel)
        assert await stub.Embed(EMBED)
        await server.channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
        assert await stub.Embed(EMBED)


async def test_a_stream_outlives_its_connections_age_by_the_grace_and_no_longer(
    tiny_models: Path,
) -> None:
    async with limited(tiny_models, max_connection_age=0.2, max_connection_grace=0.3) as server:
        call = EmbeddingServiceStub(server.channel).StreamEmbed()
        await call.write(StreamEmbedRequest(id="1", request=EMBED))
        assert "1" == (await call.read()).id
        refused = await refusal(call.read())
        assert (grpc.StatusCode.UNAVAILABLE, "max connection age") == (
            refused.code, refused.message,
        )  # fmt: skip
        assert await EmbeddingServiceStub(server.channel).Embed(EMBED)


async def test_calls_past_the_bound_of_a_connection_wait_and_others_do_not(
    tiny_models: Path,
) -> None:
    async with limited(tiny_models, max_connection_calls=2) as server:
        stub = EmbeddingServiceStub(server.channel)
        server.embedder.hold()
        calls = [asyncio.ensure_future(stub.Embed(EMBED)) for _ in range(5)]
        await asyncio.to_thread(server.embedder.wait_for_run)
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(server.address, options) as channel:
            other = EmbeddingServiceStub(channel)
            while "2 requests" not in repr(server.engines[0]):
                await refusal(other.Embed(EmbedRequest()))
            for _ in range(20):
                await refusal(other.Embed(EmbedRequest()))
            assert "2 requests" in repr(server.engines[0])
        server.embedder.release()
        assert 5 == len(await asyncio.gather(*calls))


async def test_a_stream_is_read_no_further_than_its_bytes(tiny_models: Path) -> None:
    """Of messages of 1,000 bytes, 2,500 bytes admit the third and no fourth."""
    request = EmbedRequest(texts=["a cat " * 166])
    async with limited(tiny_models, max_stream_bytes=2500) as server:
        stub = EmbeddingServiceStub(server.channel)
        server.embedder.hold()
        call = stub.StreamEmbed()

        async def send() -> None:
            for number in range(10):
                await call.write(StreamEmbedRequest(id=str(number), request=request))
            await call.done_writing()

        sending = asyncio.create_task(send())
        while "3 requests" not in repr(server.engines[0]):
            await refusal(stub.Embed(EmbedRequest()))
        for _ in range(20):
            await refusal(stub.Embed(EmbedRequest()))
        assert "3 requests" in repr(server.engines[0])
        server.embedder.release()
        assert 10 == len([answer async for answer in call])
        await sending


async def test_tokens_that_wait_are_bounded(service: InProcess) -> None:
    """The fixture's queue holds 10,000 tokens, its model cuts at 64: 150 texts and 10 are more."""
    stub = EmbeddingServiceStub(service.channel)
    service.embedder.hold()
    first = asyncio.ensure_future(stub.Embed(EMBED))
    await asyncio.to_thread(service.embedder.wait_for_run)
    text = "a cat " * 50
    filling = asyncio.ensure_future(stub.Embed(EmbedRequest(texts=[text] * 150)))
    while "2 requests" not in repr(service.engines[0]):
        await refusal(stub.Embed(EmbedRequest()))
    refused = await refusal(stub.Embed(EmbedRequest(texts=[text] * 10)))
    assert grpc.StatusCode.RESOURCE_EXHAUSTED == refused.code
    assert (
        "the queue holds 9600 of at most 10000 tokens and cannot take 640 more" == refused.message
    )
    service.embedder.release()
    await asyncio.gather(first, filling)


async def test_calls_and_streams_are_shed_alike_and_told_when_to_return(
    service: InProcess,
) -> None:
    stub = EmbeddingServiceStub(service.channel)
    service.embedder.hold()
    first = asyncio.ensure_future(stub.Embed(EMBED))
    await asyncio.to_thread(service.embedder.wait_for_run)
    filling = asyncio.ensure_future(stub.Embed(EmbedRequest(texts=["a"] * 200)))
    while "2 requests" not in repr(service.engines[0]):
        await refusal(stub.Embed(EmbedRequest()))

    too_many = EmbedRequest(texts=["b"] * 100)
    call = await refusal(stub.Embed(too_many))
    stream = stub.StreamEmbed()
    await stream.write(StreamEmbedRequest(id="1", request=too_many))
    error: status_pb2.Status = (await stream.read()).error
    assert (call.code.value[0], call.message) == (error.code, error.message)
    info = error_details_pb2.RetryInfo()
    assert error.details[0].Unpack(info)
    assert call.retry_seconds == info.retry_delay.ToMilliseconds() / 1000 > 0
    assert str(round(call.retry_seconds * 1000)) == call.trailers["grpc-retry-pushback-ms"]

    service.embedder.release()
    await stream.write(StreamEmbedRequest(id="2", request=EMBED))
    assert (await stream.read()).HasField("response")
    await stream.done_writing()
    assert grpc.StatusCode.OK == await stream.code()
    await asyncio.gather(first, filling)
