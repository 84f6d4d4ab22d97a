"""Tokenize is bounded, charged, counted, and refused while the server drains."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest
from conftest import InProcess
from echoing import echoing
from refusals import refusal
from semserve.v1.embedding_pb2 import EmbedRequest
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub
from semserve.v1.model_pb2 import TokenizeRequest
from semserve.v1.model_pb2_grpc import ModelServiceStub
from semserve_server.auth.api_key import new_key
from semserve_server.auth.key_file import add_key

MOST_BYTES = 10_000


async def test_the_bytes_of_all_texts_are_bounded() -> None:
    async with echoing(max_tokenize_bytes=MOST_BYTES) as server:
        stub = ModelServiceStub(server.channel)
        refused = await refusal(stub.Tokenize(TokenizeRequest(texts=["é" * 2501] * 2)))
        assert grpc.StatusCode.INVALID_ARGUMENT == refused.code
        assert {
            "texts": "10004 bytes, at most 10000 a request: send several requests"
        } == refused.fields
        assert 2 == len((await stub.Tokenize(TokenizeRequest(texts=["é" * 2500] * 2))).results)


async def test_texts_that_are_told_in_parts_keep_their_order() -> None:
    """The texts take several turns of the tokenizer's thread."""
    texts = [f"{number} " + "a " * (number % 5 * 2000 + 1) for number in range(20)]
    async with echoing() as server:
        answer = await ModelServiceStub(server.channel).Tokenize(TokenizeRequest(texts=texts))
        assert [len(text.split()) for text in texts] == [len(one.ids) for one in answer.results]
        assert "echo" == answer.model
        assert [0, 2] == list(answer.results[1].starts[:2])
        assert sum(len(text.split()) for text in texts) == server.counters.tokenized
        assert 1 == sum(server.counters.tokenize_seconds.counts)


async def test_a_key_pays_for_what_it_has_tokenised(tmp_path: Path) -> None:
    presented, key = new_key("a", tokens_per_second=100)
    add_key(tmp_path / "keys", key)
    async with echoing(api_key_file=tmp_path / "keys", key=presented) as server:
        stub = ModelServiceStub(server.channel)
        await stub.Tokenize(TokenizeRequest(texts=["a " * 1000]), metadata=server.metadata)
        for refused in (
            await refusal(stub.Tokenize(TokenizeRequest(texts=["a"]), metadata=server.metadata)),
            await refusal(
                EmbeddingServiceStub(server.channel).Embed(
                    EmbedRequest(texts=["a"]), metadata=server.metadata
                )
            ),
        ):
            assert grpc.StatusCode.RESOURCE_EXHAUSTED == refused.code
            assert refused.retry_seconds == pytest.approx(9, abs=1)


async def test_a_flood_of_it_is_shed_and_holds_up_no_text_that_runs(service: InProcess) -> None:
    """The fixture lets 100,000 characters wait, and a sixteenth of them for Tokenize."""
    tokenize = ModelServiceStub(service.channel).Tokenize
    flood = [
        asyncio.ensure_future(tokenize(TokenizeRequest(model="tiny-embed", texts=["cat " * 1000])))
        for _ in range(50)
    ]
    embed = EmbeddingServiceStub(service.channel).Embed
    assert await embed(EmbedRequest(texts=["cat " * 900]))
    done = await asyncio.gather(*flood, return_exceptions=True)
    shed = [one for one in done if isinstance(one, grpc.aio.AioRpcError)]
    assert 0 < len(shed) < 50
    assert {grpc.StatusCode.RESOURCE_EXHAUSTED} == {one.code() for one in shed}
    counted = service.recorder.rejected
    while len(shed) != counted["tiny-embed", "queue_characters"]:
        await asyncio.to_thread(lambda: None)


async def test_a_draining_server_tokenises_nothing_more(service: InProcess) -> None:
    service.models.drain()
    stub = ModelServiceStub(service.channel)
    for request in (TokenizeRequest(texts=["a"]), TokenizeRequest(model="tiny-nli", texts=["a"])):
        assert grpc.StatusCode.UNAVAILABLE == (await refusal(stub.Tokenize(request))).code
