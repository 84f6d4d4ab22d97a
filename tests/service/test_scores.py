"""Similarity requests: their texts and scores are bounded, counted, charged and given up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from echoing import Echoing, echoing
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub
from refusals import refusal
from semserve.v1 import similarity_pb2 as pb
from semserve.v1.similarity_pb2_grpc import SimilarityServiceStub
from semserve_server.auth.api_key import new_key
from semserve_server.auth.key_file import add_key

MOST_SCORES = 10_000
MOST_TEXTS = 400
BIG = {"max_request_scores": 1_048_576, "max_queue_scores": 1_048_576}


@pytest.fixture
async def bounded() -> AsyncIterator[Echoing]:
    async with echoing(
        dimensions=8, max_request_scores=MOST_SCORES, max_request_texts=MOST_TEXTS
    ) as server:
        yield server


async def test_too_many_scores_are_refused_by_their_fields_and_the_bound(bounded: Echoing) -> None:
    stub = SimilarityServiceStub(bounded.channel)
    at_most = f"at most {MOST_SCORES} a request"
    for call, fields in (
        (stub.Matrix(pb.MatrixRequest(left=["a"] * 101)), {"left"}),
        (stub.Matrix(pb.MatrixRequest(left=["a"] * 101, right=["b"] * 100)), {"left", "right"}),
        (
            stub.Search(pb.SearchRequest(queries=["a"] * 101, corpus=["b"] * 100)),
            {"queries", "corpus"},
        ),
    ):
        refused = await refusal(call)
        assert grpc.StatusCode.INVALID_ARGUMENT == refused.code
        assert fields == set(refused.fields)
        assert at_most in refused.message
    assert 0 == bounded.recorder.methods[0].requests.codes["OK"]
    right = await stub.Matrix(pb.MatrixRequest(left=["a"] * 100))
    assert [100] * 100 == [len(row.scores) for row in right.rows]


async def test_the_texts_of_a_request_are_bounded_over_all_of_its_fields(bounded: Echoing) -> None:
    """Each list is within the bound of 400 texts, and all together are not."""
    stub = SimilarityServiceStub(bounded.channel)
    pairs = [pb.ComparePair(left="a", right="b")]
    for call, fields in (
        (stub.Rank(pb.RankRequest(query="a", documents=["b"] * 400)), {"query", "documents"}),
        (stub.Compare(pb.CompareRequest(pairs=pairs * 201)), {"pairs"}),
        (
            stub.Search(pb.SearchRequest(queries=["a"], corpus=["b"] * 400)),
            {"queries", "corpus"},
        ),
        (stub.Matrix(pb.MatrixRequest(left=["a"], right=["b"] * 400)), {"left", "right"}),
    ):
        refused = await refusal(call)
        assert grpc.StatusCode.INVALID_ARGUMENT == refused.code
        assert fields == set(refused.fields)
        assert "at most 400 a request" in refused.message
    rank = await stub.Rank(pb.RankRequest(query="a", documents=["b"] * 399))
    assert 399 == len(rank.hits)
    assert 200 == len((await stub.Compare(pb.CompareRequest(pairs=pairs * 200))).scores)


async def test_a_matrix_that_is_computed_on_the_thread_is_right() -> None:
    """The echo's vectors are the number of a text's words, in each of its dimensions."""
    words = [1 + place % 7 for place in range(600)]
    texts = [" ".join(["a"] * one) for one in words]
    async with echoing(dimensions=16, max_request_scores=600 * 600) as server:
        stub = SimilarityServiceStub(server.channel)
        answer = await stub.Matrix(pb.MatrixRequest(left=texts, metric=pb.METRIC_EUCLIDEAN))
        expected = -4.0 * np.abs(np.subtract.outer(words, words))
        np.testing.assert_allclose([row.scores for row in answer.rows], expected)
        assert sum(words[:7]) == answer.usage.token_count
        found = await stub.Search(
            pb.SearchRequest(queries=texts[:7], corpus=texts, top_k=2, metric=pb.METRIC_EUCLIDEAN)
        )
        assert [[place, place + 7] for place in range(7)] == [
            [hit.index for hit in result.hits] for result in found.results
        ]
        pairs = [pb.ComparePair(left=texts[place], right=texts[0]) for place in range(600)]
        scores = (
            await stub.Compare(pb.CompareRequest(pairs=pairs, metric=pb.METRIC_EUCLIDEAN))
        ).scores
        np.testing.assert_allclose(scores, expected[:, 0])
        assert 600 * 600 + 7 * 600 + 600 == server.counters.scores
        assert 3 == sum(server.counters.score_seconds.counts)


async def test_who_leaves_has_no_scores_computed_and_health_is_told_meanwhile() -> None:
    options = [("grpc.max_receive_message_length", -1)]
    async with (
        echoing(dimensions=2048, **BIG) as server,
        grpc.aio.insecure_channel(server.address, options) as channel,
    ):
        stub, health = SimilarityServiceStub(channel), HealthStub(server.channel)
        request = pb.MatrixRequest(left=["a"] * 1024, metric=pb.METRIC_MANHATTAN)
        call = stub.Matrix(request)
        await server.until(lambda: sum(server.counters.run_seconds.counts) > 0)
        for _ in range(5):
            await health.Check(HealthCheckRequest())
        assert 1024 * 1024 == server.gauge("queue_scores")
        call.cancel()
        await server.until(lambda: server.gauge("queue_scores") == 0)
        await server.until(lambda: server.gauge("unread_bytes") == 0)
        assert 0 == server.counters.scores


async def test_scores_past_the_queue_are_shed_before_anything_is_embedded() -> None:
    async with echoing(dimensions=2048, **BIG) as server:
        stub = SimilarityServiceStub(server.channel)
        first = stub.Matrix(pb.MatrixRequest(left=["a"] * 1024, metric=pb.METRIC_MANHATTAN))
        await server.until(lambda: sum(server.counters.run_seconds.counts) > 0)
        runs = sum(server.counters.run_seconds.counts)
        refused = await refusal(stub.Matrix(pb.MatrixRequest(left=["b"] * 300)))
        assert grpc.StatusCode.RESOURCE_EXHAUSTED == refused.code
        assert "scores wait" in refused.message
        assert refused.retry_seconds is not None
        assert refused.retry_seconds > 0
        assert runs == sum(server.counters.run_seconds.counts)
        await server.until(lambda: server.recorder.rejected["echo", "queue_scores"] == 1)
        first.cancel()


async def test_a_key_pays_for_texts_that_recur_and_for_scores(tmp_path: Path) -> None:
    """256 equal texts are 256 tokens, and their 65,536 scores as many as 256 tokens more."""
    presented, key = new_key("a", tokens_per_second=100)
    add_key(tmp_path / "keys", key)
    async with echoing(dimensions=8, api_key_file=tmp_path / "keys", key=presented) as server:
        stub = SimilarityServiceStub(server.channel)
        answer = await stub.Matrix(pb.MatrixRequest(left=["a"] * 256), metadata=server.metadata)
        assert 1 == answer.usage.token_count
        refused = await refusal(stub.Matrix(pb.MatrixRequest(left=["a"]), metadata=server.metadata))
        assert grpc.StatusCode.RESOURCE_EXHAUSTED == refused.code
        assert refused.retry_seconds == pytest.approx((256 + 256 - 100) / 100, abs=1)


async def test_requests_that_arrive_together_do_not_pass_a_keys_rate_together(
    tmp_path: Path,
) -> None:
    """Ten long requests at once, on a key of 100 tokens a second: one is ahead of its rate."""
    presented, key = new_key("a", tokens_per_second=100)
    add_key(tmp_path / "keys", key)
    async with echoing(dimensions=8, api_key_file=tmp_path / "keys", key=presented) as server:
        stub = SimilarityServiceStub(server.channel)
        long = pb.RankRequest(query="a", documents=["a b c d " * 100] * 20)
        calls = (stub.Rank(long, metadata=server.metadata) for _ in range(10))
        done = await asyncio.gather(*calls, return_exceptions=True)
        assert 9 == sum(isinstance(one, grpc.aio.AioRpcError) for one in done)
