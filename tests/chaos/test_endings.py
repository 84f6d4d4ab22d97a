"""How a server ends, or is stopped for a while, under load; and what its callers see of it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from semserve.v1.embedding_pb2 import EmbedRequest, EmbedResponse
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub

from chaos import endings
from chaos.answers import TOLERANCE, Answers
from chaos.server import Server, serving
from chaos.tally import Tally
from chaos.trouble import HANG, NAN, RAISE, SLOW

SERVING = HealthCheckResponse.SERVING
NOT_SERVING = HealthCheckResponse.NOT_SERVING


@pytest.mark.parametrize(
    "ending", [endings.told_to_end, endings.killed, endings.stopped_for_a_while],
    ids=lambda ending: ending.__name__,
)  # fmt: skip
async def test_no_answer_is_wrong_or_lost(
    answers: Answers, ending: Callable[[Server, Answers], Awaitable[Tally]]
) -> None:
    with serving("--run-timeout", "1", "--stall-timeout", "1") as server:
        tally = await ending(server, answers)
    assert 0 == tally.faults, tally
    assert tally.sent > 50


async def test_poisoned_texts_fail_alone(troubled: Path, answers: Answers) -> None:
    """Those that make their run raise, and those that get numbers that are none."""
    expected = dict(zip(answers.texts.items, answers.texts.rows.tolist(), strict=True))
    texts = [text for text in expected if not {HANG, SLOW} & set(text.split())]
    texts += [f"a {RAISE}", f"two {RAISE}", f"a {NAN}", f"two {NAN}"]
    with serving(models=troubled) as server:
        async with grpc.aio.insecure_channel(server.address) as channel:
            stub = EmbeddingServiceStub(channel)
            calls = [embed(stub, text) for text in texts]
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
    for text, outcome in zip(texts, outcomes, strict=True):
        if {RAISE, NAN} & set(text.split()):
            assert grpc.StatusCode.INTERNAL == outcome.code(), text
        else:
            values = list(outcome.results[0].embedding.values)
            assert expected[text] == pytest.approx(values, abs=TOLERANCE)


async def test_a_run_that_hangs_turns_health_and_ends_the_process(troubled: Path) -> None:
    flags = ("--run-timeout", "2", "--stall-timeout", "1")
    with serving(*flags, models=troubled) as server:
        async with grpc.aio.insecure_channel(server.address) as channel:
            watch = HealthStub(channel).Watch(HealthCheckRequest())
            assert SERVING == (await watch.read()).status
            hanging = EmbeddingServiceStub(channel).Embed(EmbedRequest(texts=[f"a {HANG}"]))
            assert NOT_SERVING == (await watch.read()).status
            with pytest.raises(grpc.aio.AioRpcError):
                await hanging
        assert 1 == await asyncio.to_thread(server.process.popen.wait, 30)
        assert "tiny-embed" in server.said.splitlines()[-1]


async def test_a_run_that_is_slow_ends_before_the_process_does(troubled: Path) -> None:
    with serving(models=troubled) as server:
        async with grpc.aio.insecure_channel(server.address) as channel:
            stub = EmbeddingServiceStub(channel)
            slow = asyncio.ensure_future(embed(stub, f"a {SLOW}"))
            # A request that is refused at the door is answered after those before it were admitted.
            with pytest.raises(grpc.aio.AioRpcError):
                await embed(stub)
            server.process.popen.send_signal(signal.SIGTERM)
            assert 1 == len((await slow).results)
        assert 0 == await asyncio.to_thread(server.process.popen.wait, 30)


async def embed(stub: EmbeddingServiceStub, *texts: str) -> EmbedResponse:
    return await stub.Embed(EmbedRequest(texts=texts))
