"""While a model is overloaded, its calls are refused before their messages are read."""

from __future__ import annotations

import asyncio

import grpc
from conftest import InProcess
from refusals import Refusal, refusal
from semserve.v1.embedding_pb2 import EmbedRequest, EmbedResponse
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub

EMBED = "/semserve.v1.EmbeddingService/Embed"
TEXT = "cat " * 40
TEXTS = 200
"""Of these the fixture's model takes 0.84 s by its cost, and admission doubles the wait."""
SECONDS = 1.0
"""A deadline that cannot be met behind them."""


async def overload(service: InProcess) -> list[asyncio.Task[EmbedResponse]]:
    """Hold a run, fill the queue behind it, and have a call refused for its deadline."""
    stub = EmbeddingServiceStub(service.channel)
    service.embedder.hold()
    first = asyncio.create_task(embed(stub, 1))
    await asyncio.to_thread(service.embedder.wait_for_run)
    filling = asyncio.create_task(embed(stub, TEXTS))
    engine = next(one for one in service.engines if one.manifest.task == "embedding")
    while engine.waiting.entries != TEXTS:  # tokenised on a thread
        await asyncio.to_thread(lambda: None)
    refused = await refusal(stub.Embed(EmbedRequest(texts=["late"]), timeout=SECONDS))
    assert grpc.StatusCode.RESOURCE_EXHAUSTED == refused.code
    return [first, filling]


async def ask_without_message(service: InProcess) -> Refusal:
    """Open a call, send nothing, and return its refusal."""
    return await refusal(service.channel.stream_stream(EMBED)(timeout=SECONDS).read())


async def embed(stub: EmbeddingServiceStub, texts: int) -> EmbedResponse:
    return await stub.Embed(EmbedRequest(texts=[TEXT] * texts))


async def answered(service: InProcess, calls: list[asyncio.Task[EmbedResponse]]) -> None:
    service.embedder.release()
    assert [1, TEXTS] == [len(answer.results) for answer in await asyncio.gather(*calls)]


async def test_an_overloaded_model_refuses_a_call_whose_message_has_not_come(
    service: InProcess,
) -> None:
    calls = await overload(service)
    refused = await ask_without_message(service)
    assert grpc.StatusCode.RESOURCE_EXHAUSTED == refused.code
    assert round(refused.retry_seconds * 1000) == int(refused.trailers["grpc-retry-pushback-ms"])
    assert refused.trailers["x-request-id"]
    await answered(service, calls)


async def test_what_is_refused_unread_is_counted_as_every_refusal(service: InProcess) -> None:
    calls = await overload(service)
    before = service.recorder.rejected.copy()
    await ask_without_message(service)
    counted = service.recorder.rejected - before
    assert {("tiny-embed", "deadline"): 1} == dict(counted)
    await answered(service, calls)


async def test_a_call_with_time_to_wait_is_admitted_while_others_are_refused(
    service: InProcess,
) -> None:
    calls = await overload(service)
    patient = asyncio.create_task(embed(EmbeddingServiceStub(service.channel), 1))
    await answered(service, calls)
    assert 1 == len((await patient).results)


async def test_a_bad_request_gets_its_own_error_after_the_overload(service: InProcess) -> None:
    await answered(service, await overload(service))
    stub = EmbeddingServiceStub(service.channel)
    for _ in range(2):
        refused = await refusal(stub.Embed(EmbedRequest(texts=[])))
        assert (grpc.StatusCode.INVALID_ARGUMENT, ["texts"]) == (
            refused.code,
            list(refused.fields),
        )
    assert 1 == len((await embed(stub, 1)).results)
