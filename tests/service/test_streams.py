"""Streams: any order, errors as answers, bounded in flight, ended by half-close or by draining."""

from __future__ import annotations

import asyncio

import grpc
import numpy as np
import pytest
from conftest import InProcess
from refusals import refusal
from semserve.v1.classification_pb2 import (
    ClassifyPair,
    ClassifyRequest,
    StreamClassifyRequest,
)
from semserve.v1.classification_pb2_grpc import ClassificationServiceStub
from semserve.v1.embedding_pb2 import EmbedRequest, StreamEmbedRequest, StreamEmbedResponse
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub


def message(name: str, *texts: str) -> StreamEmbedRequest:
    return StreamEmbedRequest(id=name, request=EmbedRequest(texts=texts))


@pytest.fixture
def stub(service: InProcess) -> EmbeddingServiceStub:
    return EmbeddingServiceStub(service.channel)


async def test_one_bad_message_in_a_hundred_leaves_ninety_nine_answered(
    stub: EmbeddingServiceStub,
) -> None:
    texts = [f"{number} cats" if number != 42 else "" for number in range(100)]

    async def messages():
        for number, text in enumerate(texts):
            yield message(str(number), text)

    call = stub.StreamEmbed(messages())
    answers = {answer.id: answer async for answer in call}
    assert grpc.StatusCode.OK == await call.code()
    assert {str(number) for number in range(100)} == set(answers)
    assert ["42"] == [name for name, one in answers.items() if one.HasField("error")]
    assert "texts[0]: is empty" == answers["42"].error.message
    for name in ("0", "41", "43", "99"):
        alone = await stub.Embed(EmbedRequest(texts=[texts[int(name)]]))
        np.testing.assert_allclose(
            answers[name].response.results[0].embedding.values,
            alone.results[0].embedding.values,
            atol=1e-6,
        )


async def test_a_message_that_is_no_message_gets_an_answer_and_the_stream_goes_on(
    service: InProcess,
) -> None:
    raw = service.channel.stream_stream(
        "/semserve.v1.EmbeddingService/StreamEmbed",
        response_deserializer=StreamEmbedResponse.FromString,
    )
    broken = b"\x0a\x03bad" + b"\x12\x03" + b"\x12\x01\xff"
    good = message("good", "a cat").SerializeToString()
    call = raw(iter([broken, b"\xff\xff", good]))
    answers = {answer.id: answer async for answer in call}
    assert "texts[0]: is not valid UTF-8" == answers["bad"].error.message
    assert 3 == answers[""].error.code
    assert 1 == len(answers["good"].response.results)
    assert grpc.StatusCode.OK == await call.code()


async def test_answers_are_sent_as_they_are_ready(service: InProcess) -> None:
    stub = EmbeddingServiceStub(service.channel)
    call = stub.StreamEmbed()
    service.embedder.hold()
    await call.write(message("held", "a cat"))
    await asyncio.to_thread(service.embedder.wait_for_run)
    await call.write(message("refused", ""))
    assert "refused" == (await call.read()).id
    service.embedder.release()
    assert "held" == (await call.read()).id
    await call.done_writing()
    assert grpc.aio.EOF is await call.read()


async def test_the_server_reads_no_further_than_its_bound(service: InProcess) -> None:
    """The fixture's streams have 8 slots: of 50 messages a held server has admitted just 8."""
    stub = EmbeddingServiceStub(service.channel)
    service.embedder.hold()
    call = stub.StreamEmbed()

    async def send() -> None:
        for number in range(50):
            await call.write(message(str(number), f"{number} cats"))
        await call.done_writing()

    sending = asyncio.create_task(send())
    # Round trips are the clock: after as many again, it would have read further if it were to.
    trips = 0
    while "8 requests" not in repr(service.engines[0]):
        await refusal(stub.Embed(EmbedRequest()))
        trips += 1
    for _ in range(trips + 20):
        await refusal(stub.Embed(EmbedRequest()))
    state = repr(service.engines[0])
    service.embedder.release()
    answers = [answer.id async for answer in call]
    await sending
    assert "8 requests" in state
    assert {str(number) for number in range(50)} == set(answers)


async def test_a_caller_that_does_not_read_holds_no_more_than_the_bound(
    service: InProcess,
) -> None:
    """Its answers fill the connection's window, and then its messages are read no further.

    Eight messages at once fit into the queue, and 20,000 into no window.
    """
    texts = ["a cat " * 30] * 30
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.http2.bdp_probe", 0)]
    async with grpc.aio.insecure_channel(service.address, options=options) as channel:
        call = EmbeddingServiceStub(channel).StreamEmbed()

        async def send() -> None:
            for number in range(20_000):
                await call.write(message(str(number), *texts))

        sending = asyncio.create_task(send())
        # Whoever reads is served meanwhile.
        others = EmbeddingServiceStub(service.channel)
        before, now = -1, 0
        while before != now:
            for _ in range(20):
                await others.Embed(EmbedRequest(texts=["a cat"]))
            before, now = now, sum(len(batch) > 1 for batch in service.embedder.batches)
        assert not sending.done()
        sending.cancel()
        call.cancel()


async def test_half_close_answers_what_was_sent(stub: EmbeddingServiceStub) -> None:
    call = stub.StreamEmbed()
    await call.write(message("only", "a cat"))
    await call.done_writing()
    assert ["only"] == [answer.id async for answer in call]
    assert grpc.StatusCode.OK == await call.code()


async def test_a_stream_without_messages_ends_well(stub: EmbeddingServiceStub) -> None:
    call = stub.StreamEmbed()
    await call.done_writing()
    assert [] == [answer async for answer in call]
    assert grpc.StatusCode.OK == await call.code()


async def test_an_id_over_its_bound_is_refused(stub: EmbeddingServiceStub) -> None:
    call = stub.StreamEmbed(iter([message("x" * 129, "a")]))
    answers = [answer async for answer in call]
    assert [("", "id: over 128 bytes")] == [(one.id, one.error.message) for one in answers]


async def test_draining_answers_what_was_read_and_ends_the_stream(service: InProcess) -> None:
    stub = EmbeddingServiceStub(service.channel)
    call = stub.StreamEmbed()
    service.embedder.hold()
    await call.write(message("admitted", "a cat"))
    await asyncio.to_thread(service.embedder.wait_for_run)
    draining = asyncio.create_task(service.port.drain(30))
    service.embedder.release()
    assert "admitted" == (await call.read()).id
    refused = await refusal(call.read())
    assert grpc.StatusCode.UNAVAILABLE == refused.code
    await draining


async def test_a_stream_that_is_cut_off_harms_nobody(service: InProcess) -> None:
    stub = EmbeddingServiceStub(service.channel)
    service.embedder.hold()
    call = stub.StreamEmbed()
    await call.write(message("lost", "a cat"))
    await asyncio.to_thread(service.embedder.wait_for_run)
    await call.write(message("lost too", "a dog"))
    call.cancel()
    service.embedder.release()
    assert 1 == len((await stub.Embed(EmbedRequest(texts=["next"]))).results)


async def test_pairs_stream_too(service: InProcess) -> None:
    pairs = [("a cat", "a dog"), ("a cat", None), ("rain", "sun")]
    messages = [
        StreamClassifyRequest(
            id=str(number),
            request=ClassifyRequest(pairs=[ClassifyPair(premise=premise, hypothesis=hypothesis)]),
        )
        for number, (premise, hypothesis) in enumerate(pairs)
    ]
    stub = ClassificationServiceStub(service.channel)
    answers = {one.id: one async for one in stub.StreamClassify(iter(messages))}
    assert {"0": "response", "1": "error", "2": "response"} == {
        name: one.WhichOneof("outcome") for name, one in answers.items()
    }
