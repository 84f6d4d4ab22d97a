"""The API of text-embeddings-inference over a real server: the bits of our own API."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import grpc
import pytest
from asking import refusal, refused
from conftest import InProcess, in_process
from grpc_health.v1 import health_pb2, health_pb2_grpc
from semserve.v1.classification_pb2 import ClassifyPair, ClassifyRequest
from semserve.v1.classification_pb2_grpc import ClassificationServiceStub
from semserve.v1.common_pb2 import TRUNCATION_START
from semserve.v1.embedding_pb2 import EmbedRequest, EmbedSparseRequest
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub
from semserve.v1.score_pb2 import RerankRequest
from semserve.v1.score_pb2_grpc import ScoreServiceStub
from semserve_server.auth.api_key import new_key
from semserve_server.auth.key_file import add_key
from semserve_server.auth.key_store import KeyStore
from semserve_server.facades.registration import Facades
from semserve_server.facades.stubs.tei.v1 import tei_pb2 as tei
from semserve_server.frontend.security import Security

KINDS = pytest.mark.xdist_group("kinds")
Call = Callable[..., Any]
LONG = "cat sat on a mat " * 40
REPLIES = {
    "Tokenize": "EncodeResponse",
    "Decode": "DecodeResponse",
    "PredictPair": "PredictResponse",
}


def reply_type(method: str) -> Any:
    name = method.rpartition("/")[2].removesuffix("Stream")
    return getattr(tei, REPLIES.get(name, f"{name}Response"))


@pytest.fixture
def call(kinds_channel: grpc.Channel) -> Call:
    """Call a method by its name, on a server with a model of each kind."""

    def calling(method: str, request: Any, model: str = "") -> Any:
        return kinds_channel.unary_unary(
            f"/tei.v1.{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=reply_type(method).FromString,
        )(request, metadata=(("semserve-model", model),) if model else None)

    return calling


def ask(call: Call, method: str, request: Any, model: str = "") -> Any:
    """Make a call that must be refused."""
    return refused(lambda message: call(method, message, model), request)


def streamed(channel: grpc.Channel, method: str, requests: Iterable[Any]) -> Any:
    return channel.stream_stream(
        f"/tei.v1.{method}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=reply_type(method).FromString,
    )(iter(requests))


@KINDS
def test_a_vector_is_that_of_embed_to_the_bit(call: Call, kinds_channel: grpc.Channel) -> None:
    own = EmbeddingServiceStub(kinds_channel)
    for text, truncated in (("a dog", False), (LONG, True)):
        for direction, rule in ((0, 1), (1, TRUNCATION_START)):
            (expected,) = own.Embed(EmbedRequest(texts=[text], truncation=rule)).results
            request = tei.EmbedRequest(
                inputs=text, truncate=truncated, truncation_direction=direction
            )
            answer = call("Embed/Embed", request)
            assert list(expected.embedding.values) == list(answer.embeddings)
            assert expected.token_count == answer.metadata.compute_tokens
            assert len(text) == answer.metadata.compute_chars
            assert 0 < answer.metadata.inference_time_ns < answer.metadata.total_time_ns


@KINDS
def test_dimensions_prompts_and_normalize_are_those_of_embed(
    call: Call, kinds_channel: grpc.Channel
) -> None:
    own, model = EmbeddingServiceStub(kinds_channel), "tiny-prompted"
    for options in ({"dimensions": 2}, {"prompt_name": "query"}, {"normalize": False}, {}):
        theirs = {"normalize": True} | options
        (expected,) = own.Embed(EmbedRequest(model=model, texts=["dog"], **theirs)).results
        answer = call("Embed/Embed", tei.EmbedRequest(inputs="dog", **options), model)
        assert list(expected.embedding.values) == list(answer.embeddings), options


@KINDS
def test_sparse_weights_are_those_of_embed_sparse(call: Call, kinds_channel: grpc.Channel) -> None:
    text = "cat sat on a mat"
    (own,) = (
        EmbeddingServiceStub(kinds_channel).EmbedSparse(EmbedSparseRequest(texts=[text])).results
    )
    answer = call("Embed/EmbedSparse", tei.EmbedSparseRequest(inputs=text))
    expected = list(zip(own.indices, own.values, strict=True))
    assert expected == [(one.index, one.value) for one in answer.sparse_embeddings]


@KINDS
def test_labels_are_those_of_classify_and_raw_scores_its_logits(
    call: Call, kinds_channel: grpc.Channel
) -> None:
    pair = ("a man is eating", "a man sleeps")
    (own,) = (
        ClassificationServiceStub(kinds_channel)
        .Classify(ClassifyRequest(pairs=[ClassifyPair(premise=pair[0], hypothesis=pair[1])]))
        .results
    )
    found = own.classification
    scores = {one.label: one.score for one in found.scores}
    logits = dict(zip(scores, found.logits, strict=True))
    for raw, expected in ((False, scores), (True, logits)):
        answer = call("Predict/PredictPair", tei.PredictPairRequest(inputs=pair, raw_scores=raw))
        assert found.label == answer.predictions[0].label
        assert sorted(expected.values(), reverse=True) == [one.score for one in answer.predictions]
        assert expected == {one.label: one.score for one in answer.predictions}


@KINDS
def test_ranks_are_those_of_rerank_in_one_call_and_in_a_stream(
    call: Call, kinds_channel: grpc.Channel
) -> None:
    query, texts = "cat sat on", ["a dog", "a cat sat on a mat", "sea", "bus town"]
    own = ScoreServiceStub(kinds_channel).Rerank(RerankRequest(query=query, documents=texts)).hits
    expected = [(hit.index, texts[hit.index], hit.score) for hit in own]
    together = call("Rerank/Rerank", tei.RerankRequest(query=query, texts=texts, return_text=True))
    messages = [tei.RerankStreamRequest(query=query, text=text, return_text=True) for text in texts]
    (gathered,) = streamed(kinds_channel, "Rerank/RerankStream", messages)
    for answer in (together, gathered):
        assert expected == [(one.index, one.text, one.score) for one in answer.ranks]
    bare = call("Rerank/Rerank", tei.RerankRequest(query=query, texts=texts))
    assert not any(one.HasField("text") for one in bare.ranks)


@KINDS
def test_a_raw_score_is_the_logit_of_the_score(call: Call) -> None:
    request = {"query": "sea", "texts": ["a dog"]}
    (raw,) = call("Rerank/Rerank", tei.RerankRequest(raw_scores=True, **request)).ranks
    (score,) = call("Rerank/Rerank", tei.RerankRequest(**request)).ranks
    assert 1 / (1 + math.exp(-raw.score)) == pytest.approx(score.score)


@KINDS
def test_tokens_have_the_text_they_stand_for_at_offsets_in_bytes(call: Call) -> None:
    request = tei.EncodeRequest(inputs="é cat 😀 sat", add_special_tokens=True)
    tokens = call("Tokenize/Tokenize", request, "tiny-regression").tokens
    content = request.inputs.encode()
    assert ["[CLS]", "é", "cat", "😀", "sat", "[SEP]"] == [one.text for one in tokens]
    assert [True, False, False, False, False, True] == [one.special for one in tokens]
    for one in tokens:
        assert one.special != one.HasField("start")
        if not one.special:
            assert one.text.encode() == content[one.start : one.stop]
    bare = call("Tokenize/Tokenize", tei.EncodeRequest(inputs=request.inputs), "tiny-regression")
    assert list(tokens[1:-1]) == list(bare.tokens)


@KINDS
def test_ids_are_decoded_with_and_without_special_tokens(call: Call) -> None:
    tokens = call(
        "Tokenize/Tokenize",
        tei.EncodeRequest(inputs="cat sat", add_special_tokens=True),
        "tiny-nli",
    ).tokens
    ids = [one.id for one in tokens]
    for skip, expected in ((False, "[CLS] cat sat [SEP]"), (True, "cat sat")):
        request = tei.DecodeRequest(ids=ids, skip_special_tokens=skip)
        assert expected == call("Tokenize/Decode", request, "tiny-nli").text


@KINDS
def test_a_model_is_named_in_the_metadata(call: Call) -> None:
    kinds = {"": "tiny-embed", "tiny-nli": "tiny-nli", "tiny-score": "tiny-score"}
    types = {"": 0, "tiny-nli": 1, "tiny-score": 2}
    for name, expected in kinds.items():
        info = call("Info/Info", tei.InfoRequest(), name)
        assert (expected, types[name], "float32") == (
            info.model_id,
            info.model_type,
            info.model_dtype,
        )
        assert info.max_input_length > 0
    wrong = ask(call, "Embed/Embed", tei.EmbedRequest(inputs="a"), "tiny-nli")
    assert grpc.StatusCode.FAILED_PRECONDITION == wrong.code
    unknown = ask(call, "Embed/Embed", tei.EmbedRequest(inputs="a"), "nobody")
    assert grpc.StatusCode.NOT_FOUND == unknown.code


@KINDS
def test_what_is_wrong_is_named_in_the_fields_of_this_api(call: Call) -> None:
    cases = [
        ("Embed/Embed", tei.EmbedRequest(), "inputs"),
        ("Embed/Embed", tei.EmbedRequest(inputs=LONG), "inputs"),
        ("Embed/Embed", tei.EmbedRequest(inputs="a", dimensions=0), "dimensions"),
        ("Embed/Embed", tei.EmbedRequest(inputs="a", dimensions=2**32 - 1), "dimensions"),
        ("Embed/Embed", tei.EmbedRequest(inputs="a", prompt_name="zz"), "prompt_name"),
        (
            "Embed/Embed",
            tei.EmbedRequest(inputs="a", truncation_direction=7),
            "truncation_direction",
        ),
        ("Embed/EmbedSparse", tei.EmbedSparseRequest(), "inputs"),
        ("Predict/Predict", tei.PredictRequest(inputs="a"), "inputs"),
        ("Predict/PredictPair", tei.PredictPairRequest(inputs=["a"]), "inputs"),
        ("Predict/PredictPair", tei.PredictPairRequest(inputs=["a"] * 3), "inputs"),
        ("Predict/PredictPair", tei.PredictPairRequest(inputs=["a", ""]), "inputs[1]"),
        ("Predict/PredictPair", tei.PredictPairRequest(inputs=["a", LONG]), "inputs"),
        ("Rerank/Rerank", tei.RerankRequest(query="a"), "texts"),
        ("Rerank/Rerank", tei.RerankRequest(query="a", texts=["b", ""]), "texts[1]"),
        ("Rerank/Rerank", tei.RerankRequest(query="a", texts=["b", LONG]), "texts[1]"),
        ("Tokenize/Tokenize", tei.EncodeRequest(), "inputs"),
        ("Tokenize/Decode", tei.DecodeRequest(), "ids"),
        ("Tokenize/Decode", tei.DecodeRequest(ids=[1, 10**6]), "ids[1]"),
    ]
    for method, request, field in cases:
        refusing = ask(call, method, request)
        assert grpc.StatusCode.INVALID_ARGUMENT == refusing.code, (method, field)
        assert [field] == list(refusing.fields), (method, refusing)


@KINDS
def test_what_cannot_be_done_is_unimplemented_and_says_so(call: Call) -> None:
    cases = [
        ("Embed/EmbedAll", tei.EmbedAllRequest(inputs="a"), "", "EmbedAll"),
        ("Embed/Embed", tei.EmbedRequest(inputs="a", normalize=False), "", "normalize: false"),
        ("Embed/Embed", tei.EmbedRequest(inputs="a"), "tiny-sided", "call semserve.v1"),
    ]
    for method, request, model, said in cases:
        refusing = ask(call, method, request, model)
        assert grpc.StatusCode.UNIMPLEMENTED == refusing.code
        assert said in refusing.message


@KINDS
def test_a_stream_answers_in_order_and_ends_at_the_first_failure(
    call: Call, kinds_channel: grpc.Channel
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
    call: Call, kinds_channel: grpc.Channel
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
        ("Predict/Predict", tei.PredictRequest(inputs="a")),
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


async def test_it_is_off_unless_it_is_asked_for(service: InProcess) -> None:
    info = service.channel.unary_unary("/tei.v1.Info/Info")(b"")
    assert grpc.StatusCode.UNIMPLEMENTED == (await refusal(info)).code
