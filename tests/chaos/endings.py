"""Ends a server, or stops it for a while, under load."""

from __future__ import annotations

import asyncio
import signal

import grpc
from grpc import StatusCode
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from semserve.v1.embedding_pb2 import EmbedRequest
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub

from chaos.answers import Answers
from chaos.bystanders import GONE, bystanders
from chaos.client import OWN_CONNECTION, PATIENCE
from chaos.server import Server
from chaos.tally import Tally

CALLERS = 9
NOT_ADMITTED = (
    "UNAVAILABLE: the server is stopping",
    "UNAVAILABLE: failed to connect",
    "UNAVAILABLE: GOAWAY",
    "CANCELLED: CANCELLED",
)
"""What a caller is told of a call that was not taken up: by the server, by its own gRPC that finds
nobody, and by the server's gRPC, which so ends what it has not handed over when it stops."""
NOT_TAKEN = GONE | {StatusCode.CANCELLED}
TICKS = 4
"""Calls of half a second each that measure how long a server is stopped."""


async def told_to_end(server: Server, answers: Answers, *, seed: int = 0) -> Tally:
    """Send SIGTERM: all that was admitted is answered, and the exit code is 0."""
    async with bystanders(server, answers, number=CALLERS, may_end=NOT_TAKEN, seed=seed) as callers:
        await callers.wait_for(100)
        server.process.popen.send_signal(signal.SIGTERM)
        code = await asyncio.to_thread(server.process.popen.wait, PATIENCE)
    assert code == 0, f"exit code {code}: {server.said}"
    lost = {reported for reported in callers.told if not reported.startswith(NOT_ADMITTED)}
    assert not lost, f"calls that were admitted were told {lost}"
    return callers.tally


async def killed(server: Server, answers: Answers, *, seed: int = 0) -> Tally:
    """Send SIGKILL: every caller is told at once, and nobody is told anything wrong."""
    async with bystanders(server, answers, number=CALLERS, may_end=GONE, seed=seed) as callers:
        await callers.wait_for(100)
        server.process.popen.kill()
    return callers.tally


async def stopped_for_a_while(server: Server, answers: Answers, *, seed: int = 0) -> Tally:
    """Send SIGSTOP, and SIGCONT after longer than a run may take: who has waited is answered."""
    process = server.process.popen
    async with (
        bystanders(server, answers, number=CALLERS, seed=seed) as callers,
        grpc.aio.insecure_channel(server.address, options=OWN_CONNECTION) as channel,
    ):
        await callers.wait_for(50)
        process.send_signal(signal.SIGSTOP)
        try:
            for _ in range(TICKS):
                code = await _code(channel, timeout=0.5)
                assert code == StatusCode.DEADLINE_EXCEEDED, code
        finally:
            process.send_signal(signal.SIGCONT)
        await callers.wait_for(50)
        check = await HealthStub(channel).Check(HealthCheckRequest(), timeout=PATIENCE)
        assert check.status == HealthCheckResponse.SERVING
        assert server.lives, server.said
    return callers.tally


async def _code(
    channel: grpc.aio.Channel,
    *,
    timeout: float,  # noqa: ASYNC109  (the deadline that gRPC carries)
) -> StatusCode:
    call = EmbeddingServiceStub(channel).Embed(EmbedRequest(texts=["a cat"]), timeout=timeout)
    return await call.code()
