"""What happens to calls: bytes that are no message, deadlines, cancelling, overload, faults."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest
from conftest import InProcess, in_process
from fakes import Failing, Poisoned
from refusals import refusal
from semserve.v1.embedding_pb2 import EmbedRequest, EmbedResponse
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub
from semserve_server.runtime.tokenizer import Tokenizer, Truncation

EMBED = "/semserve.v1.EmbeddingService/Embed"


@pytest.mark.parametrize(("content", "fields"), [
    (b"\x12\x02ok\x12\x02\xff\xfe", {"texts[1]": "is not valid UTF-8"}),
    (
        b"\xff\xff\xff",
        {"": "the bytes are not a semserve.v1.EmbedRequest message with valid UTF-8"},
    ),
])  # fmt: skip
async def test_bytes_that_are_no_request_are_an_invalid_argument_and_the_next_call_works(
    service: InProcess, content: bytes, fields: dict[str, str]
) -> None:
    raw = service.channel.unary_unary(EMBED, response_deserializer=EmbedResponse.FromString)
    refused = await refusal(raw(content))
    assert (grpc.StatusCode.INVALID_ARGUMENT, fields) == (refused.code, refused.fields)
    good = EmbedRequest(texts=["a"]).SerializeToString()
    assert 1 == len((await raw(good)).results)


async def test_a_message_over_the_transports_bound_is_refused(service: InProcess) -> None:
    stub = EmbeddingServiceStub(service.channel)
    refused = await refusal(stub.Embed(EmbedRequest(texts=["x" * 2_000_000])))
    assert grpc.StatusCode.RESOURCE_EXHAUSTED == refused.code
    assert 1 == len((await stub.Embed(EmbedRequest(texts=["a"]))).results)


async def test_a_cancelled_call_does_not_harm_those_that_shared_its_batch(
    service: InProcess,
) -> None:
    stub = EmbeddingServiceStub(service.channel)
    service.embedder.hold()
    first = asyncio.create_task(one(stub, "first"))
    await asyncio.to_thread(service.embedder.wait_for_run)
    call = stub.Embed(EmbedRequest(texts=["kept"]))
    cancelled = stub.Embed(EmbedRequest(texts=["cancelled"]))
    await all_read(stub)
    service.embedder.release(1)
    await first
    await asyncio.to_thread(service.embedder.wait_for_run)
    cancelled.cancel()
    service.embedder.release()
    assert 1 == len((await call).results)
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert 1 == len((await one(stub, "next")).results)


async def all_read(stub: EmbeddingServiceStub) -> None:
    """Wait until the server has admitted the calls that were made before this one.

    A call that is refused on admission is answered after those before it have been queued.
    """
    await refusal(stub.Embed(EmbedRequest()))


async def one(stub: EmbeddingServiceStub, text: str) -> EmbedResponse:
    return await stub.Embed(EmbedRequest(texts=[text]))


async def test_a_deadline_that_passes_while_waiting_drops_the_call_unrun(
    service: InProcess,
) -> None:
    stub = EmbeddingServiceStub(service.channel)
    service.embedder.hold()
    first = asyncio.create_task(one(stub, "first"))
    await asyncio.to_thread(service.embedder.wait_for_run)
    refused = await refusal(stub.Embed(EmbedRequest(texts=["late"]), timeout=0.2))
    assert grpc.StatusCode.DEADLINE_EXCEEDED == refused.code
    service.embedder.release()
    await first
    await one(stub, "next")
    assert [1, 1] == [len(batch) for batch in service.embedder.batches]


async def test_a_full_queue_refuses_at_once_and_says_when_to_return(service: InProcess) -> None:
    stub = EmbeddingServiceStub(service.channel)
    service.embedder.hold()
    first = asyncio.create_task(one(stub, "first"))
    await asyncio.to_thread(service.embedder.wait_for_run)
    filling = stub.Embed(EmbedRequest(texts=["a"] * 200))
    await all_read(stub)
    refused = await refusal(stub.Embed(EmbedRequest(texts=["b"] * 100)))
    assert grpc.StatusCode.RESOURCE_EXHAUSTED == refused.code
    assert "the queue holds 200 of at most 256 texts and cannot take 100 more" == refused.message
    assert refused.retry_seconds is not None
    assert round(refused.retry_seconds * 1000) == int(refused.trailers["grpc-retry-pushback-ms"])
    service.embedder.release()
    assert 200 == len((await filling).results)
    await first


async def test_what_the_queue_has_no_room_for_is_refused_unread(
    service: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How long texts are is told by their characters: as 42 tokens each, like those that wait."""
    stub = EmbeddingServiceStub(service.channel)
    service.embedder.hold()
    first = asyncio.create_task(one(stub, "first"))
    await asyncio.to_thread(service.embedder.wait_for_run)
    filling = stub.Embed(EmbedRequest(texts=["cat " * 40] * 200))
    engine = next(engine for engine in service.engines if engine.manifest.task == "embedding")
    while engine.waiting.tokens != 200 * 42:  # tokenised on a thread
        await asyncio.to_thread(lambda: None)
    monkeypatch.delattr(Tokenizer, "encode")
    refused = await refusal(stub.Embed(EmbedRequest(texts=["mat " * 40] * 50)))
    assert "the queue holds 8400 of at most 10000 tokens and cannot take" in refused.message
    service.embedder.release()
    assert 200 == len((await filling).results)
    await first


async def test_too_much_text_at_once_is_refused(service: InProcess) -> None:
    """The fixture's engine lets 100,000 characters wait to be tokenised, and always one request."""
    stub = EmbeddingServiceStub(service.channel)
    calls = [stub.Embed(EmbedRequest(texts=["cat " * 1000] * 20)) for _ in range(4)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    codes = [outcome.code() for outcome in outcomes if isinstance(outcome, grpc.aio.AioRpcError)]
    assert 1 <= len(codes) < 4
    assert {grpc.StatusCode.RESOURCE_EXHAUSTED} == set(codes)


async def test_a_million_empty_texts_are_refused_at_once(service: InProcess) -> None:
    for method, field in (("Embed", 2), ("Tokenize", 2)):
        path = f"/semserve.v1.{'Embedding' if method == 'Embed' else 'Model'}Service/{method}"
        refused = await refusal(
            service.channel.unary_unary(path)(bytes([field << 3 | 2, 0]) * 400_000)
        )
        assert (
            "texts: over 200 texts, at most 200 a request: send several requests, or stream"
            == refused.message
        )


@pytest.mark.parametrize("name", ["nobody" * 1000, "😀" * 3000])
async def test_a_status_always_fits_its_metadata(service: InProcess, name: str) -> None:
    stub = EmbeddingServiceStub(service.channel)
    refused = await refusal(stub.Embed(EmbedRequest(texts=["a"], model=name)))
    assert grpc.StatusCode.NOT_FOUND == refused.code
    bad = EmbedRequest(texts=["\0"] * 200)
    assert 16 == len((await refusal(stub.Embed(bad))).fields)


async def test_a_fault_of_ours_is_internal_and_tells_nothing(
    tiny_models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with in_process(tiny_models) as service:
        service.embedder.runner = Failing()
        stub = EmbeddingServiceStub(service.channel)
        refused = await refusal(stub.Embed(EmbedRequest(texts=["a"])))
    assert (grpc.StatusCode.INTERNAL, "inference failed") == (refused.code, refused.message)
    assert "secret cause" in caplog.text


async def test_many_callers_at_once_each_get_their_own_answer(tiny_models: Path) -> None:
    async with in_process(tiny_models, workers=2) as service:
        stub = EmbeddingServiceStub(service.channel)
        texts = [f"{number} cats and {number % 7} dogs" for number in range(100)]
        together = await asyncio.gather(*(one(stub, text) for text in texts))
        reply = await stub.Embed(EmbedRequest(texts=texts))
    for alone, row in zip(together, reply.results, strict=True):
        assert list(row.embedding.values) == pytest.approx(
            list(alone.results[0].embedding.values), abs=1e-6
        )


async def test_a_poisoned_text_fails_alone_where_parts_are_taken(service: InProcess) -> None:
    """Its neighbours in the request, in other calls and on a stream have their own answers."""
    stub = EmbeddingServiceStub(service.channel)
    texts = ["hello", "cat", "dog", "cat cat"]
    clean = [result.embedding for result in (await stub.Embed(EmbedRequest(texts=texts))).results]
    first = service.engines[0].tokenizer.encode(["cat"], Truncation.END)[0].token_ids[1]
    service.embedder.runner = Poisoned(service.embedder.runner, raises={first}, token=1)
    results = (await stub.Embed(EmbedRequest(texts=texts, allow_partial=True))).results
    internal = (grpc.StatusCode.INTERNAL.value[0], "inference failed")
    for place in (1, 3):
        assert internal == (results[place].error.code, results[place].error.message)
    for place in (0, 2):
        assert list(clean[place].values) == pytest.approx(
            list(results[place].embedding.values), abs=1e-5
        )
    refused = await refusal(stub.Embed(EmbedRequest(texts=texts)))
    assert (grpc.StatusCode.INTERNAL, "inference failed") == (refused.code, refused.message)
    calls = [asyncio.create_task(one(stub, text)) for text in ("hello", "dog")]
    refused = await refusal(stub.Embed(EmbedRequest(texts=["cat"])))
    assert grpc.StatusCode.INTERNAL == refused.code
    assert [1, 1] == [len((await call).results) for call in calls]


async def test_a_burst_of_calls_is_answered_by_admission_control_and_not_cancelled(
    service: InProcess,
) -> None:
    """By its own default gRPC would cancel what is beyond a thousand calls."""
    stub = EmbeddingServiceStub(service.channel)
    calls = [asyncio.ensure_future(one(stub, "a cat")) for _ in range(1500)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    codes = {o.code() for o in outcomes if isinstance(o, grpc.aio.AioRpcError)}
    assert codes <= {grpc.StatusCode.RESOURCE_EXHAUSTED}
