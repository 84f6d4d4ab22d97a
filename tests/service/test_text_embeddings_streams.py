"""Streams, health, drain and keys of the API of text-embeddings-inference."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest
from conftest import in_process
from grpc_health.v1 import health_pb2, health_pb2_grpc
from refusals import refusal, refused
from semserve_server.auth.api_key import new_key
from semserve_server.auth.key_file import add_key
from semserve_server.auth.key_store import KeyStore
from semserve_server.facades.registration import Facades
from semserve_server.facades.stubs.tei.v1 import tei_pb2 as tei
from semserve_server.frontend.security import Security
from tei_calls import LONG, TeiCalls, streamed

KINDS = pytest.mark.xdist_group("kinds")


@pytest.fixture
def call(kinds_channel: grpc.Channel) -> TeiCalls:
    return TeiCalls(kinds_channel)


@KINDS
def test_a_stream_answers_in_order_and_ends_at_the_first_failure(
    call: TeiCalls, kinds_channel: grpc.Channel
) -> None:
    texts = ["a dog", LONG.strip(), "cat"] * 12
    requests = [tei.EmbedRequest(inputs=text, truncate=True) for text in texts]
    answers = list(streamed(kinds_channel, "Embed/EmbedStream", requests))
    alone = {one.inputs: call("Embed/Embed", one).embeddings for one in requests[:3]}
    for text, answer in zip(texts, answers, strict=True):
        assert list(alone[text]) == pytest.approx(list(answer.embeddings), abs=1e-5)
    bad = [*requests[:2], tei.EmbedRequest(), requests[2]]
    stream = streamed(kinds_channel, "Embed/EmbedStream", bad)
    assert 2 == len([next(stream), next(stream)])
    ended = refused(lambda _: next(stream), tei.EmbedRequest())
    assert (grpc.StatusCode.INVALID_ARGUMENT, ["inputs"]) == (ended.code, list(ended.fields))


@KINDS
def test_every_other_stream_answers_as_its_call_does(
    call: TeiCalls, kinds_channel: grpc.Channel
) -> None:
    cases = {
        "Embed/EmbedSparse": tei.EmbedSparseRequest(inputs="cat sat"),
        "Predict/PredictPair": tei.PredictPairRequest(inputs=["a", "b"]),
        "Tokenize/Tokenize": tei.EncodeRequest(inputs="cat sat"),
        "Tokenize/Decode": tei.DecodeRequest(ids=[2, 3]),
    }
    for method, request in cases.items():
        expected = call(method, request)
        for answer in streamed(kinds_channel, f"{method}Stream", [request, request]):
            for message in (expected, answer):
                if "metadata" in message.DESCRIPTOR.fields_by_name:
                    message.ClearField("metadata")
            assert expected == answer, method
    for method, request in (
        ("Rerank/Rerank", None),
        ("Predict/Predict", tei.PredictRequest()),
    ):
        sent = [] if request is None else [request]
        refusing = refused(
            lambda sent, name=method: list(streamed(kinds_channel, f"{name}Stream", sent)), sent
        )
        assert grpc.StatusCode.INVALID_ARGUMENT == refusing.code, method


@KINDS
def test_health_is_that_of_each_service(kinds_channel: grpc.Channel) -> None:
    health = health_pb2_grpc.HealthStub(kinds_channel)
    for name in ("Info", "Embed", "Predict", "Rerank", "Tokenize"):
        status = health.Check(health_pb2.HealthCheckRequest(service=f"tei.v1.{name}")).status
        assert health_pb2.HealthCheckResponse.SERVING == status


async def test_a_drain_answers_what_a_stream_has_read_and_then_ends_it(tiny_models: Path) -> None:
    facades = Facades(text_embeddings_inference=True)
    async with in_process(tiny_models, facades=facades) as server:
        server.embedder.hold()
        stream = server.channel.stream_stream(
            "/tei.v1.Embed/EmbedStream",
            request_serializer=tei.EmbedRequest.SerializeToString,
            response_deserializer=tei.EmbedResponse.FromString,
        )()
        await stream.write(tei.EmbedRequest(inputs="a"))
        await asyncio.to_thread(server.embedder.wait_for_run)
        draining = asyncio.create_task(server.port.drain(30))
        server.embedder.release()
        answer = await stream.read()
        assert isinstance(answer, tei.EmbedResponse)
        assert 16 == len(answer.embeddings)
        assert grpc.StatusCode.UNAVAILABLE == (await refusal(stream.read())).code
        await draining


async def test_a_call_without_a_key_is_refused(tiny_models: Path, tmp_path: Path) -> None:
    presented, key = new_key("alice")
    add_key(tmp_path / "keys", key)
    security = Security(key_store=KeyStore(tmp_path / "keys"))
    facades = Facades(text_embeddings_inference=True)
    async with in_process(tiny_models, security=security, facades=facades) as server:
        info = server.channel.unary_unary("/tei.v1.Info/Info")
        assert grpc.StatusCode.UNAUTHENTICATED == (await refusal(info(b""))).code
        known = (("authorization", f"Bearer {presented}"),)
        answer = tei.InfoResponse.FromString(await info(b"", metadata=known))
        assert "tiny-embed" == answer.model_id


async def test_a_stream_to_rank_is_bounded_in_its_messages(tiny_models: Path) -> None:
    facades = Facades(text_embeddings_inference=True)
    async with in_process(tiny_models, facades=facades) as server:
        call = server.channel.stream_unary(
            "/tei.v1.Rerank/RerankStream",
            request_serializer=tei.RerankStreamRequest.SerializeToString,
            response_deserializer=tei.RerankResponse.FromString,
        )
        messages = [tei.RerankStreamRequest(query="a", text="b")] * 201
        refusing = await refusal(call(iter(messages)))
        assert grpc.StatusCode.INVALID_ARGUMENT == refusing.code
        assert "at most 200" in refusing.message
        none = await refusal(call(iter(messages[:1])))
        assert grpc.StatusCode.FAILED_PRECONDITION == none.code
