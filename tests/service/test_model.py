"""ModelService: what is served, and how it reads texts."""

from __future__ import annotations

import pytest
from conftest import InProcess
from refusals import refusal
from semserve.v1 import model_pb2
from semserve.v1.model_pb2_grpc import ModelServiceStub
from semserve.v1.similarity_pb2 import METRIC_COSINE


@pytest.fixture
def stub(service: InProcess) -> ModelServiceStub:
    return ModelServiceStub(service.channel)


async def test_every_model_is_described(stub: ModelServiceStub) -> None:
    embedder, classifier = (await stub.ListModels(model_pb2.ListModelsRequest())).models
    assert ("tiny-embed", model_pb2.TASK_EMBEDDING) == (embedder.name, embedder.task)
    assert (16, "mean", True, METRIC_COSINE) == (
        embedder.dimensions, embedder.pooling, embedder.normalized, embedder.metric,
    )  # fmt: skip
    assert (64, "portable", "CPUExecutionProvider") == (
        embedder.max_sequence_length, embedder.variant, embedder.provider,
    )  # fmt: skip
    assert ("tiny-nli", model_pb2.TASK_CLASSIFICATION) == (classifier.name, classifier.task)
    assert (["entailment", "neutral", "contradiction"], True) == (
        classifier.labels, classifier.takes_pairs,
    )  # fmt: skip
    assert embedder.is_default
    assert classifier.is_default
    assert 64 == len(embedder.digest)


async def test_one_model_is_described_by_name(stub: ModelServiceStub) -> None:
    model = (await stub.GetModel(model_pb2.GetModelRequest(model="tiny-nli"))).model
    assert "tiny-nli" == model.name
    refused = await refusal(stub.GetModel(model_pb2.GetModelRequest(model="none")))
    assert "NOT_FOUND" == refused.code.name


async def test_tokens_are_told_with_their_places(stub: ModelServiceStub) -> None:
    text = "Hello, [SEP] cat"
    response = await stub.Tokenize(model_pb2.TokenizeRequest(texts=[text]))
    result = response.results[0]
    assert ["[CLS]", "hello", ",", "["] == result.tokens[:4]
    assert ["]", "cat", "[SEP]"] == result.tokens[-3:]
    assert len(result.tokens) == len(result.ids)
    spans = list(zip(result.starts, result.ends, strict=True))
    assert [(0, 0), "Hello", (0, 0)] == [spans[0], text[slice(*spans[1])], spans[-1]]
    assert 0 == result.truncated_tokens


async def test_what_the_model_would_drop_is_told(stub: ModelServiceStub) -> None:
    response = await stub.Tokenize(model_pb2.TokenizeRequest(texts=["cat " * 100]))
    assert 38 == response.results[0].truncated_tokens
    assert 102 == len(response.results[0].ids)


async def test_bad_texts_are_named(stub: ModelServiceStub) -> None:
    refused = await refusal(stub.Tokenize(model_pb2.TokenizeRequest(texts=["a", ""])))
    assert {"texts[1]": "is empty"} == refused.fields
