"""The API of text-embeddings-inference over a real server: the bits of our own API."""

from __future__ import annotations

import math
from typing import Any

import grpc
import pytest
import tiny_kinds
from conftest import InProcess
from refusals import refusal, refused
from semserve.v1.classification_pb2 import ClassifyPair, ClassifyRequest
from semserve.v1.classification_pb2_grpc import ClassificationServiceStub
from semserve.v1.common_pb2 import TRUNCATION_START
from semserve.v1.embedding_pb2 import EmbedRequest, EmbedSparseRequest
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub
from semserve.v1.score_pb2 import RerankRequest
from semserve.v1.score_pb2_grpc import ScoreServiceStub
from semserve_server.facades.stubs.tei.v1 import tei_pb2 as tei
from tei_calls import LONG, TeiCalls, streamed
from tiny_bundles import joined, single

KINDS = pytest.mark.xdist_group("kinds")


@pytest.fixture
def call(kinds_channel: grpc.Channel) -> TeiCalls:
    return TeiCalls(kinds_channel)


def ask(call: TeiCalls, method: str, request: Any, model: str = "") -> Any:
    """Make a call that must be refused."""
    return refused(lambda message: call(method, message, model), request)


@KINDS
def test_a_vector_is_that_of_embed_to_the_bit(call: TeiCalls, kinds_channel: grpc.Channel) -> None:
    stub = EmbeddingServiceStub(kinds_channel)
    for text, truncated in (("a dog", False), (LONG, True)):
        for direction, rule in ((0, 1), (1, TRUNCATION_START)):
            (expected,) = stub.Embed(EmbedRequest(texts=[text], truncation=rule)).results
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
    call: TeiCalls, kinds_channel: grpc.Channel
) -> None:
    stub, model = EmbeddingServiceStub(kinds_channel), "tiny-prompted"
    for options in ({"dimensions": 2}, {"prompt_name": "query"}, {"normalize": False}, {}):
        reference = {"normalize": True} | options
        (expected,) = stub.Embed(EmbedRequest(model=model, texts=["dog"], **reference)).results
        answer = call("Embed/Embed", tei.EmbedRequest(inputs="dog", **options), model)
        assert list(expected.embedding.values) == list(answer.embeddings), options


@KINDS
def test_sparse_weights_are_those_of_embed_sparse(
    call: TeiCalls, kinds_channel: grpc.Channel
) -> None:
    text = "cat sat on a mat"
    (result,) = (
        EmbeddingServiceStub(kinds_channel).EmbedSparse(EmbedSparseRequest(texts=[text])).results
    )
    answer = call("Embed/EmbedSparse", tei.EmbedSparseRequest(inputs=text))
    expected = list(zip(result.indices, result.values, strict=True))
    assert expected == [(entry.index, entry.value) for entry in answer.sparse_embeddings]


@KINDS
def test_labels_are_those_of_classify_and_raw_scores_its_logits(
    call: TeiCalls, kinds_channel: grpc.Channel
) -> None:
    pair = ("a man is eating", "a man sleeps")
    (result,) = (
        ClassificationServiceStub(kinds_channel)
        .Classify(ClassifyRequest(pairs=[ClassifyPair(premise=pair[0], hypothesis=pair[1])]))
        .results
    )
    classification = result.classification
    scores = {score.label: score.score for score in classification.scores}
    logits = dict(zip(scores, classification.logits, strict=True))
    for raw, expected in ((False, scores), (True, logits)):
        answer = call("Predict/PredictPair", tei.PredictPairRequest(inputs=pair, raw_scores=raw))
        assert classification.label == answer.predictions[0].label
        assert sorted(expected.values(), reverse=True) == [
            prediction.score for prediction in answer.predictions
        ]
        assert expected == {prediction.label: prediction.score for prediction in answer.predictions}


@KINDS
def test_ranks_are_those_of_rerank_in_one_call_and_in_a_stream(
    call: TeiCalls, kinds_channel: grpc.Channel
) -> None:
    query, texts = "cat sat on", ["a dog", "a cat sat on a mat", "sea", "bus town"]
    hits = ScoreServiceStub(kinds_channel).Rerank(RerankRequest(query=query, documents=texts)).hits
    expected = [(hit.index, texts[hit.index], hit.score) for hit in hits]
    together = call("Rerank/Rerank", tei.RerankRequest(query=query, texts=texts, return_text=True))
    messages = [tei.RerankStreamRequest(query=query, text=text, return_text=True) for text in texts]
    (gathered,) = streamed(kinds_channel, "Rerank/RerankStream", messages)
    for answer in (together, gathered):
        assert expected == [(rank.index, rank.text, rank.score) for rank in answer.ranks]
    bare = call("Rerank/Rerank", tei.RerankRequest(query=query, texts=texts))
    assert not any(rank.HasField("text") for rank in bare.ranks)


@KINDS
def test_a_raw_score_is_the_logit_of_the_score(call: TeiCalls) -> None:
    request = {"query": "sea", "texts": ["a dog"]}
    (raw,) = call("Rerank/Rerank", tei.RerankRequest(raw_scores=True, **request)).ranks
    (score,) = call("Rerank/Rerank", tei.RerankRequest(**request)).ranks
    assert 1 / (1 + math.exp(-raw.score)) == pytest.approx(score.score)


@KINDS
def test_tokens_have_the_text_they_stand_for_at_offsets_in_bytes(call: TeiCalls) -> None:
    request = tei.EncodeRequest(inputs="é cat 😀 sat", add_special_tokens=True)
    tokens = call("Tokenize/Tokenize", request, "tiny-regression").tokens
    content = request.inputs.encode()
    assert ["[CLS]", "é", "cat", "😀", "sat", "[SEP]"] == [token.text for token in tokens]
    assert [True, False, False, False, False, True] == [token.special for token in tokens]
    for token in tokens:
        assert token.special != token.HasField("start")
        if not token.special:
            assert token.text.encode() == content[token.start : token.stop]
    bare = call("Tokenize/Tokenize", tei.EncodeRequest(inputs=request.inputs), "tiny-regression")
    assert list(tokens[1:-1]) == list(bare.tokens)


@KINDS
def test_ids_are_decoded_with_and_without_special_tokens(call: TeiCalls) -> None:
    tokens = call(
        "Tokenize/Tokenize",
        tei.EncodeRequest(inputs="cat sat", add_special_tokens=True),
        "tiny-nli",
    ).tokens
    ids = [token.id for token in tokens]
    for skip, expected in ((False, "[CLS] cat sat [SEP]"), (True, "cat sat")):
        request = tei.DecodeRequest(ids=ids, skip_special_tokens=skip)
        assert expected == call("Tokenize/Decode", request, "tiny-nli").text


@KINDS
def test_a_model_is_named_in_the_metadata(call: TeiCalls) -> None:
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
def test_what_is_wrong_is_named_in_the_fields_of_this_api(call: TeiCalls) -> None:
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
        ("Predict/Predict", tei.PredictRequest(), "inputs"),
        ("Predict/PredictPair", tei.PredictPairRequest(), "inputs"),
        ("Predict/PredictPair", tei.PredictPairRequest(inputs=["a"] * 3), "inputs"),
        ("Predict/PredictPair", tei.PredictPairRequest(inputs=["a\0", ""]), "inputs[0]"),
        ("Predict/PredictPair", tei.PredictPairRequest(inputs=["a", LONG]), "inputs"),
        ("Rerank/Rerank", tei.RerankRequest(query="a"), "texts"),
        ("Rerank/Rerank", tei.RerankRequest(query="a", texts=["b", "c\0"]), "texts[1]"),
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
def test_a_model_reads_one_text_or_two_as_its_tokenizer_joins_them(call: TeiCalls) -> None:
    def logit(model: str, *texts: str) -> float:
        request = tei.PredictPairRequest(inputs=texts, raw_scores=True)
        (prediction,) = call("Predict/PredictPair", request, model).predictions
        return prediction.score

    pair = joined("cat sat", "dog", hypothesis_first=False)
    for model in ("tiny-score", "tiny-regression"):
        for texts, ids in (
            (("cat sat", "dog"), pair),
            (("cat sat",), single("cat sat")),
            (("cat sat", ""), joined("cat sat", "", hypothesis_first=False)),
            (("", "dog"), joined("", "dog", hypothesis_first=False)),
        ):
            assert tiny_kinds.ordered_logit(ids) == pytest.approx(logit(model, *texts), abs=1e-5)
    alone = ask(call, "Predict/Predict", tei.PredictRequest(inputs="cat"), "tiny-separate")
    assert "takes a pair: call PredictPair" in alone.message


@KINDS
def test_of_equal_scores_the_last_text_comes_first(call: TeiCalls) -> None:
    request = tei.RerankRequest(query="cat", texts=["sun", "sea", "sun", "sea", "sun"])
    ranks = [(rank.score, rank.index) for rank in call("Rerank/Rerank", request).ranks]
    assert sorted(ranks, reverse=True) == ranks


@KINDS
def test_what_cannot_be_done_is_unimplemented_and_says_so(call: TeiCalls) -> None:
    cases = [
        ("Embed/EmbedAll", tei.EmbedAllRequest(inputs="a"), "", "EmbedAll"),
        ("Embed/Embed", tei.EmbedRequest(inputs="a", normalize=False), "", "normalize: false"),
        ("Embed/Embed", tei.EmbedRequest(inputs="a"), "tiny-sided", "call semserve.v1"),
    ]
    for method, request, model, output in cases:
        refusing = ask(call, method, request, model)
        assert grpc.StatusCode.UNIMPLEMENTED == refusing.code
        assert output in refusing.message


async def test_it_is_off_unless_it_is_asked_for(service: InProcess) -> None:
    info = service.channel.unary_unary("/tei.v1.Info/Info")(b"")
    assert grpc.StatusCode.UNIMPLEMENTED == (await refusal(info)).code
