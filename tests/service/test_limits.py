"""Each bound of connections, calls and streams, and that others are served beside it."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from conftest import SMALL_LIMITS, InProcess, in_process
from google.rpc import error_details_pb2, status_pb2
from refusals import refusal
from semserve.v1.embedding_pb2 import EmbedRequest, StreamEmbedRequest
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub

EMBED = EmbedRequest(texts=["a cat"])
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
ACKNOWLEDGE = bytes([0, 0, 0, 4, 1, 0, 0, 0, 0])
PING = bytes([0, 0, 8, 6, 0, 0, 0, 0, 0]) + bytes(8)
RST_STREAM = 3
REFUSED_STREAM = (7).to_bytes(4)


def limited(models: Path, **bounds: float) -> AbstractAsyncContextManager[InProcess]:
    """Serve with bounds of the test's own."""
    return in_process(models, limits=replace(SMALL_LIMITS, **bounds))


@asynccontextmanager
async def connect(
    server: InProcess, greeting: bytes = b""
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a bare connection, and say what HTTP/2 begins with if it is given."""
    host, _, port = server.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(greeting)
        if greeting:
            await frame(reader)  # the server has greeted
            writer.write(ACKNOWLEDGE + PING)
            while (await frame(reader))[0] != PING[3]:
                pass  # and it has read all that was said
        yield reader, writer
    finally:
        writer.close()


async def frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Read an HTTP/2 frame: its type and its content."""
    size, kind, _, _ = struct.unpack(">IBBI", b"\0" + await reader.readexactly(9))
    return kind, await reader.readexactly(size)


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
        async with connect(server, GREETING), connect(server, GREETING):
            for _ in range(5):
                async with connect(server) as (reader, _):
                    assert b"" == await end(reader)
            assert await stub.Embed(EMBED)
        await answers(server)


async def test_a_connection_that_says_nothing_is_closed(tiny_models: Path) -> None:
    async with (
        limited(tiny_models, handshake_timeout=0.3) as server,
        connect(server) as (reader, _),
    ):
        assert b"handshake timeout" in await end(reader)


async def test_a_client_that_answers_no_ping_is_gone(tiny_models: Path) -> None:
    async with (
        limited(tiny_models, keepalive_time=0.2, keepalive_timeout=0.2) as server,
        connect(server, GREETING) as (reader, _),
    ):
        assert b"ping_timeout" in await end(reader)


@pytest.mark.parametrize("bound", ["max_connection_idle", "max_connection_age"])
async def test_a_connection_ends_by_idleness_or_age_and_another_serves(
    tiny_models: Path, bound: str
) -> None:
    async with limited(tiny_models, **{bound: 0.3}) as server:
        stub = EmbeddingServiceStub(server.channel)
        assert await stub.Embed(EMBED)
        await server.channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
        assert await stub.Embed(EMBED)


async def test_a_stream_outlives_its_connections_age(tiny_models: Path) -> None:
    async with limited(tiny_models, max_connection_age=0.3, max_connection_age_grace=600) as server:
        call = EmbeddingServiceStub(server.channel).StreamEmbed()
        await call.write(StreamEmbedRequest(id="1", request=EMBED))
        assert "1" == (await call.read()).id
        # The channel leaves the connection when the server says that its age is reached.
        await server.channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
        await call.write(StreamEmbedRequest(id="2", request=EMBED))
        assert "2" == (await call.read()).id
        await call.done_writing()
        assert grpc.StatusCode.OK == await call.code()


async def test_a_stream_ends_with_the_grace_of_its_connection(tiny_models: Path) -> None:
    async with limited(tiny_models, max_connection_age=0.2, max_connection_age_grace=0.3) as server:
        call = EmbeddingServiceStub(server.channel).StreamEmbed()
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


async def test_a_burst_of_calls_past_the_bound_fails_none(tiny_models: Path) -> None:
    """By default gRPC would refuse a third of them: it counts what has ended a moment ago."""
    async with limited(tiny_models, max_connection_calls=20) as server:
        stub = EmbeddingServiceStub(server.channel)
        assert 500 == len(await asyncio.gather(*(stub.Embed(EMBED) for _ in range(500))))


async def test_a_client_that_keeps_to_no_bound_is_refused_what_is_beyond_it(
    tiny_models: Path,
) -> None:
    """HTTP/2 by hand: 50 streams that are opened and never used."""
    path = b"/semserve.v1.EmbeddingService/StreamEmbed"
    headers = b"\x83\x86" + b"".join(  # POST, http, and literals
        b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value
        for name, value in (
            (b":path", path), (b":authority", b"a"), (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
        )
    )  # fmt: skip
    async with (
        limited(tiny_models, max_connection_calls=2) as server,
        connect(server, GREETING) as (reader, writer),
    ):
        for number in range(50):
            head = struct.pack(">IBBI", len(headers), 1, 4, 2 * number + 1)[1:]
            writer.write(head + headers)
        refused = []
        while len(refused) < 48:
            kind, content = await frame(reader)
            refused += [content] if kind == RST_STREAM else []
        assert {REFUSED_STREAM} == set(refused)
        await answers(server)


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


async def test_calls_and_streams_are_rejected_alike_with_a_time_to_retry(
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


async def test_calls_past_the_bound_of_the_server_are_refused_and_later_ones_served(
    tiny_models: Path,
) -> None:
    async with limited(tiny_models, max_calls=3) as server:
        stub = EmbeddingServiceStub(server.channel)
        server.embedder.hold()
        running = [asyncio.ensure_future(stub.Embed(EMBED)) for _ in range(3)]
        await asyncio.to_thread(server.embedder.wait_for_run)
        refused = await refusal(stub.Embed(EMBED))
        assert grpc.StatusCode.RESOURCE_EXHAUSTED == refused.code
        server.embedder.release()
        await asyncio.gather(*running)
        # gRPC counts a call until shortly after its reply has left.
        async with asyncio.timeout(60):
            while (code := await stub.Embed(EMBED).code()) != grpc.StatusCode.OK:
                assert grpc.StatusCode.RESOURCE_EXHAUSTED == code
        await answers(server)


async def test_a_message_over_the_bound_is_refused_by_its_size_and_the_bound(
    tiny_models: Path,
) -> None:
    async with limited(tiny_models, max_message_bytes=1000) as server:
        stub = EmbeddingServiceStub(server.channel)
        long = EmbedRequest(texts=["a" * 2000])
        refused = await refusal(stub.Embed(long))
        assert grpc.StatusCode.RESOURCE_EXHAUSTED == refused.code
        assert f"larger than max ({long.ByteSize()} vs. 1000)" in refused.message
        assert refused.retry_seconds is None
        stream = stub.StreamEmbed()
        await stream.write(StreamEmbedRequest(request=long))
        assert grpc.StatusCode.RESOURCE_EXHAUSTED == await stream.code()
        await answers(server)
