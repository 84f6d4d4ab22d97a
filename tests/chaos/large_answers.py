"""Clients that ask for large answers and read none of them, by streams and by unary calls."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub
from semserve.v1.embedding_pb2 import EmbedRequest, StreamEmbedRequest
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub

from chaos.client import OWN_CONNECTION
from chaos.http2 import INITIAL_WINDOW_SIZE, call, connect, opening, setting
from chaos.questions import EMBED
from chaos.server import Server
from chaos.slow_readers import FIXED_WINDOW, STEADY, WINDOWS

DIMENSIONS = 1024
TEXTS = 512
LARGE = EmbedRequest(texts=["a"] * TEXTS)
ANSWER = TEXTS * DIMENSIONS * 4
"""Bytes of the answer: two mebibytes to a request of 1.5 kB."""
BUDGET = 32 * 2**20
STREAM_BUDGET = 8 * 2**20
FLAGS = (
    "--echo",
    str(DIMENSIONS),
    "--max-unread-bytes",
    str(BUDGET),
    "--max-stream-unread-bytes",
    str(STREAM_BUDGET),
)
"""A server without a model, for which large answers cost next to nothing."""
CALLS = 100
"""Calls of one connection, and messages of one stream at least."""
LOOKS = 30
"""Health checks between two looks at the server's memory."""
OVERHEAD = 48 * 2**20
"""What the server takes beside the budget and what gRPC holds of requests: the answers that are
being made, what malloc keeps, and what the first requests load. In 28 waves it was 5 to 38 MB."""


async def read_no_large_answers(server: Server, *, waves: int, clients: int) -> dict[str, object]:
    """Let clients come, ask, read nothing and leave, and tell how far the server grew.

    Args:
        server: started with `FLAGS`.
        waves: how often they come.
        clients: how many stream, and how many call.
    """
    async with grpc.aio.insecure_channel(server.address, options=OWN_CONNECTION) as channel:
        polite = EmbeddingServiceStub(channel)
        await polite.Embed(LARGE)
        before = server.process.resident_bytes()
        peaks = []
        for _ in range(waves):
            async with _wave(server, clients):
                peaks.append(await _peak(server, channel))
            await _served_again(polite)
    grown, bound = max(peaks) - before, BUDGET + clients * WINDOWS + OVERHEAD
    return {
        "what": f"{waves} x {clients} streams and {clients} connections that read no large answer",
        "kept": grown <= bound and server.lives and "Traceback" not in server.said,
        "grown_megabytes": [round((peak - before) / 1e6, 1) for peak in peaks],
        "bound_megabytes": round(bound / 1e6, 1),
        "asked_for_megabytes": round(clients * 2 * CALLS * ANSWER / 1e6, 1),
    }


@contextlib.asynccontextmanager
async def _wave(server: Server, clients: int) -> AsyncIterator[None]:
    async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        writing = []
        for _ in range(clients):
            connection = stack.enter_context(await asyncio.to_thread(connect, server.address))
            output = opening(setting(INITIAL_WINDOW_SIZE, 0))
            calls = (call(2 * n + 1, EMBED, LARGE.SerializeToString()) for n in range(CALLS))
            await asyncio.to_thread(connection.sendall, output + b"".join(calls))
            channel = await stack.enter_async_context(
                grpc.aio.insecure_channel(server.address, options=(*OWN_CONNECTION, *FIXED_WINDOW))
            )
            writing.append(tasks.create_task(_write(channel)))
        yield
        for one in writing:
            one.cancel()


async def _write(channel: grpc.aio.Channel) -> None:
    stream = EmbeddingServiceStub(channel).StreamEmbed()
    for number in itertools.count():
        await stream.write(StreamEmbedRequest(id=str(number), request=LARGE))


async def _peak(server: Server, channel: grpc.aio.Channel) -> int:
    """Return the most that the server held until it grew no more; health is answered meanwhile."""
    health = HealthStub(channel)
    peak, steady = 0, 0
    while steady < STEADY:
        for _ in range(LOOKS):
            await health.Check(HealthCheckRequest(), timeout=10)
        now = server.process.resident_bytes()
        steady = steady + 1 if now <= peak else 0
        peak = max(peak, now)
    return peak


async def _served_again(polite: EmbeddingServiceStub) -> None:
    """Ask until an answer comes: the server lets go of what is unread as soon as clients leave."""
    async with asyncio.timeout(30):
        while True:
            try:
                await polite.Embed(LARGE)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise
            else:
                return
