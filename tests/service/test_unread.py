"""Answers that nobody reads: what the server holds for them, and that it lets go of all of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import grpc
import pytest
from chaos import http2
from echoing import Echoing, echoing
from refusals import refusal
from semserve.v1.embedding_pb2 import EmbedRequest, StreamEmbedRequest
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub

DIMENSIONS = 1024
TEXTS = 50
EMBED = "/semserve.v1.EmbeddingService/Embed"
LARGE = EmbedRequest(texts=["a"] * TEXTS)
ANSWER = TEXTS * DIMENSIONS * 4
HELD = 2 * ANSWER
"""What such an answer counts for, at least: it is in memory twice until it has been sent."""
SLACK = 1.1
"""An answer is estimated to have up to a tenth more than it has."""
OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1), ("grpc.http2.bdp_probe", 0)]


@asynccontextmanager
async def unary_calls(server: Echoing, calls: int) -> AsyncIterator[asyncio.StreamWriter]:
    """Make calls by a connection whose windows are zero, so that no answer can be sent."""
    host, _, port = server.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(http2.opening(http2.setting(http2.INITIAL_WINDOW_SIZE, 0)))
    for number in range(calls):
        writer.write(http2.call(2 * number + 1, EMBED, LARGE.SerializeToString()))
    await writer.drain()
    draining = asyncio.create_task(reader.read(-1))
    try:
        yield writer
    finally:
        draining.cancel()
        writer.close()


@asynccontextmanager
async def stream(
    server: Echoing, messages: int
) -> AsyncIterator[
    tuple[grpc.aio.StreamStreamCall[StreamEmbedRequest, object], asyncio.Task[None]]
]:
    """Send messages on a stream by a connection of its own, and read nothing."""
    async with grpc.aio.insecure_channel(server.address, options=OWN_CONNECTION) as channel:
        call = EmbeddingServiceStub(channel).StreamEmbed()

        async def send() -> None:
            for number in range(messages):
                await call.write(StreamEmbedRequest(id=str(number), request=LARGE))

        sending = asyncio.create_task(send())
        try:
            yield call, sending
        finally:
            sending.cancel()
            call.cancel()
            await asyncio.wait([sending])
            if not sending.cancelled():
                sending.exception()  # that the call has ended


async def test_a_stream_that_is_not_read_holds_no_more_than_its_bound() -> None:
    """Forty answers are within every other bound; three of them fit into this one."""
    most = 3 * int(HELD * SLACK)
    async with echoing(max_stream_unread_bytes=most) as server, stream(server, 40):
        await server.until(lambda: server.gauge("unread_bytes") > 2 * HELD)
        assert await server.settled() <= most + HELD * SLACK  # of a message that waits
        assert server.recorder.methods[1].requests.codes["OK"] <= 3


async def test_a_stream_that_is_read_after_all_gets_every_answer() -> None:
    most = int(HELD * SLACK)
    async with (
        echoing(max_stream_unread_bytes=most) as server,
        stream(server, 20) as (call, sending),
    ):
        await server.until(lambda: server.gauge("unread_bytes") >= HELD)
        answers = [(await call.read()).id for _ in range(20)]  # type: ignore[union-attr]
        await sending
        assert {str(number) for number in range(20)} == set(answers)
        await call.done_writing()
        assert grpc.StatusCode.OK == await call.code()
        await server.until(lambda: server.gauge("unread_bytes") == 0)


async def test_an_answer_larger_than_a_streams_bound_goes_alone() -> None:
    async with echoing(max_stream_unread_bytes=1) as server, stream(server, 3) as (call, _):
        assert 3 == len([await call.read() for _ in range(3)])


async def test_unary_answers_that_are_not_read_are_bounded_and_others_refused_in_words() -> None:
    """Two connections hold all that there is; a third is refused before anything is computed."""
    most = 8 * int(HELD * SLACK)
    async with echoing(max_unread_bytes=most) as server:
        async with unary_calls(server, 10), unary_calls(server, 10):
            await server.until(lambda: server.embedded == 8)
            refused = await refusal(EmbeddingServiceStub(server.channel).Embed(LARGE))
            assert grpc.StatusCode.RESOURCE_EXHAUSTED == refused.code
            assert "replies are unread" in refused.message
            assert refused.retry_seconds == 0.5
            assert "500" == refused.trailers["grpc-retry-pushback-ms"]
            assert server.gauge("unread_bytes") <= most
            await server.until(lambda: server.recorder.rejected["echo", "unread_bytes"] == 13)
            assert 8 == server.embedded
        await server.until(lambda: server.gauge("unread_bytes") == 0)
        assert await EmbeddingServiceStub(server.channel).Embed(LARGE)


async def test_one_connection_that_reads_nothing_starves_nobody() -> None:
    most = 8 * int(HELD * SLACK)
    async with echoing(max_unread_bytes=most) as server, unary_calls(server, 20):
        await server.until(lambda: server.gauge("unread_bytes") >= 4 * HELD)
        for _ in range(10):
            assert await EmbeddingServiceStub(server.channel).Embed(LARGE)
        await server.until(lambda: server.gauge("unread_bytes") <= most / 2)


async def test_streams_wait_for_what_others_hold_and_go_on_when_it_is_free() -> None:
    """A stream is never refused: it is read when the others' answers have gone."""
    most = 8 * int(HELD * SLACK)
    async with echoing(max_unread_bytes=most) as server:
        async with unary_calls(server, 10), unary_calls(server, 10):
            await server.until(lambda: server.gauge("unread_bytes") >= 8 * HELD)
            call = EmbeddingServiceStub(server.channel).StreamEmbed()
            for number in range(3):
                await call.write(StreamEmbedRequest(id=str(number), request=LARGE))
            reading = asyncio.ensure_future(call.read())
            await server.until(lambda: server.gauge("unread_waiting") == 1)
            assert not reading.done()
        answers = [await reading, await call.read(), await call.read()]
        assert all(one.HasField("response") for one in answers)
        await call.done_writing()
        assert grpc.StatusCode.OK == await call.code()


async def test_an_answer_that_could_never_be_held_is_no_overload() -> None:
    async with echoing(max_unread_bytes=HELD) as server:
        refused = await refusal(EmbeddingServiceStub(server.channel).Embed(LARGE))
        assert grpc.StatusCode.INVALID_ARGUMENT == refused.code
        assert f"at most {HELD // 2} are allowed" in refused.message
        call = EmbeddingServiceStub(server.channel).StreamEmbed()
        await call.write(StreamEmbedRequest(id="1", request=LARGE))
        assert grpc.StatusCode.INVALID_ARGUMENT.value[0] == (await call.read()).error.code
        call.cancel()


async def read_it(server: Echoing) -> None:
    assert await EmbeddingServiceStub(server.channel).Embed(LARGE)


async def bad_request(server: Echoing) -> None:
    await refusal(EmbeddingServiceStub(server.channel).Embed(EmbedRequest(texts=["a", ""])))


async def unary_reset(server: Echoing) -> None:
    async with unary_calls(server, 2) as writer:
        await server.until(lambda: server.gauge("unread_bytes") >= 2 * HELD)
        for number in (1, 3):
            writer.write(http2.frame(http2.Kind.RST_STREAM, number, http2.number(8)))
        await server.until(lambda: server.gauge("unread_bytes") == 0)


async def connection_lost(server: Echoing) -> None:
    async with unary_calls(server, 2):
        await server.until(lambda: server.gauge("unread_bytes") >= 2 * HELD)


async def stream_cancelled(server: Echoing) -> None:
    async with stream(server, 10) as (call, _):
        await server.until(lambda: server.gauge("unread_bytes") >= HELD)
        call.cancel()
        await server.until(lambda: server.gauge("unread_bytes") == 0)


async def stream_past_its_deadline(server: Echoing) -> None:
    async with grpc.aio.insecure_channel(server.address, options=OWN_CONNECTION) as channel:
        call = EmbeddingServiceStub(channel).StreamEmbed(timeout=1)
        for number in range(5):
            await call.write(StreamEmbedRequest(id=str(number), request=LARGE))
        await server.until(lambda: server.gauge("unread_bytes") >= HELD)
        assert grpc.StatusCode.DEADLINE_EXCEEDED == await call.code()


async def stream_lost(server: Echoing) -> None:
    async with stream(server, 10):
        await server.until(lambda: server.gauge("unread_bytes") >= HELD)


ENDS = [
    read_it,
    bad_request,
    unary_reset,
    connection_lost,
    stream_cancelled,
    stream_past_its_deadline,
    stream_lost,
]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
async def test_nothing_is_held_after_a_call_has_ended(
    end: Callable[[Echoing], Awaitable[None]],
) -> None:
    async with echoing(max_stream_unread_bytes=int(HELD * SLACK)) as server:
        await end(server)
        await server.until(lambda: server.gauge("unread_bytes") == 0)
        assert 0 == server.gauge("unread_waiting")


async def test_nothing_is_held_after_a_drain_that_cut_off_what_nobody_read() -> None:
    async with echoing() as server, unary_calls(server, 3), stream(server, 10):
        await server.until(lambda: server.gauge("unread_bytes") >= 4 * HELD)
        await server.port.drain(0)
        async with asyncio.timeout(30):
            while server.gauge("unread_bytes"):
                await asyncio.to_thread(lambda: None)
        assert 0 == server.gauge("unread_waiting")


async def test_callers_that_read_are_never_refused_for_unread_answers() -> None:
    """64 callers on one connection whose answers together are over the default bound, at once."""
    async with echoing() as server:
        large = EmbedRequest(texts=["a"] * 512)
        stub = EmbeddingServiceStub(server.channel)
        await asyncio.gather(*(stub.Embed(large) for _ in range(64)), return_exceptions=True)
        assert 64 * 512 * DIMENSIONS * 8 >= 1e6 * 256
        assert 0 == server.recorder.rejected["echo", "unread_bytes"]
        await server.until(lambda: server.gauge("unread_bytes") == 0)
