"""EmbeddingService over a real grpc.aio server and a real, tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import grpc
import numpy as np
import pytest
from conftest import InProcess
from refusals import refusal
from semserve.v1 import embedding_pb2
from semserve.v1.common_pb2 import TRUNCATION_NONE, TRUNCATION_START
from semserve.v1.embedding_pb2 import EmbedRequest
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub

LONG = " ".join(["cat"] * 100)


def vectors(response: embedding_pb2.EmbedResponse) -> np.ndarray:
    return np.array([list(one.embedding.values) for one in response.results], np.float32)


@pytest.fixture
def stub(service: InProcess) -> EmbeddingServiceStub:
    return EmbeddingServiceStub(service.channel)


async def test_one_field_is_a_whole_request(stub: EmbeddingServiceStub) -> None:
    response = await stub.Embed(EmbedRequest(texts=["hello world"]))
    assert ("tiny-embed", (1, 16)) == (response.model, vectors(response).shape)
    assert (4, 4) == (response.results[0].token_count, response.usage.token_count)


async def test_the_server_answers_as_keras_did(
    stub: EmbeddingServiceStub, tiny_models: Path
) -> None:
    golden = json.loads((tiny_models / "tiny-embed" / "golden.json").read_text())
    texts = [case["text"] for case in golden["cases"]]
    expected = np.array([case["embedding"] for case in golden["cases"]], np.float32)
    together = vectors(await stub.Embed(EmbedRequest(texts=texts)))
    alone = np.concatenate([vectors(await stub.Embed(EmbedRequest(texts=[t]))) for t in texts])
    assert np.abs(together - expected).max() <= 1e-5
    assert np.abs(alone - expected).max() <= 1e-5


async def test_answers_come_in_the_order_of_the_texts(stub: EmbeddingServiceStub) -> None:
    texts = ["a", LONG, "the dog", "one two three four five", "cat"]
    forwards = vectors(await stub.Embed(EmbedRequest(texts=texts)))
    backwards = vectors(await stub.Embed(EmbedRequest(texts=texts[::-1])))
    np.testing.assert_allclose(forwards, backwards[::-1], atol=1e-6)


async def test_the_cost_is_told(stub: EmbeddingServiceStub) -> None:
    call = stub.Embed(EmbedRequest(texts=["a", "the cat sat on the mat"]))
    usage = (await call).usage
    assert usage.token_count <= usage.padded_token_count
    timing = dict(await call.trailing_metadata())["server-timing"]
    assert ["queue", "tokenize", "compute"] == [part.split(";")[0] for part in timing.split(", ")]


async def test_truncation_is_told_and_can_be_chosen(stub: EmbeddingServiceStub) -> None:
    end = await stub.Embed(EmbedRequest(texts=[f"dog {LONG}"]))
    start = await stub.Embed(EmbedRequest(texts=[f"dog {LONG}"], truncation=TRUNCATION_START))
    assert (64, 39) == (end.results[0].token_count, end.results[0].truncated_tokens)
    assert 39 == start.results[0].truncated_tokens
    assert np.abs(vectors(end) - vectors(start)).max() > 1e-4


async def test_a_text_too_long_is_refused_where_truncation_is_off(
    stub: EmbeddingServiceStub,
) -> None:
    request = EmbedRequest(texts=["a", LONG], truncation=TRUNCATION_NONE)
    assert {"texts[1]": "102 tokens, at most 64"} == (await refusal(stub.Embed(request))).fields


async def test_partial_answers_leave_the_good_texts_unharmed(stub: EmbeddingServiceStub) -> None:
    request = EmbedRequest(
        texts=["a", "", LONG, "b\0"], truncation=TRUNCATION_NONE, allow_partial=True
    )
    response = await stub.Embed(request)
    outcomes = [one.WhichOneof("outcome") for one in response.results]
    assert ["embedding", "error", "error", "error"] == outcomes
    assert 3 == response.results[1].error.code
    assert "texts[2]: 102 tokens, at most 64" == response.results[2].error.message
    alone = await stub.Embed(EmbedRequest(texts=["a"]))
    np.testing.assert_allclose(response.results[0].embedding.values, vectors(alone)[0], atol=1e-6)


async def test_a_request_of_bad_texts_alone_is_answered_in_parts(
    stub: EmbeddingServiceStub,
) -> None:
    response = await stub.Embed(EmbedRequest(texts=[""], allow_partial=True))
    assert "texts[0]: is empty" == response.results[0].error.message
    assert 0 == response.usage.token_count


async def test_fewer_dimensions_are_of_unit_length_again(stub: EmbeddingServiceStub) -> None:
    whole = vectors(await stub.Embed(EmbedRequest(texts=["a cat"])))[0]
    cut = vectors(await stub.Embed(EmbedRequest(texts=["a cat"], dimensions=4)))[0]
    raw = vectors(await stub.Embed(EmbedRequest(texts=["a cat"], dimensions=4, normalize=False)))[0]
    np.testing.assert_allclose(whole[:4], raw, atol=1e-7)
    np.testing.assert_allclose(whole[:4] / np.linalg.norm(whole[:4]), cut, atol=1e-6)


@pytest.mark.parametrize(("encoding", "dtype", "within"), [
    (embedding_pb2.VECTOR_ENCODING_FLOAT32, "<f4", 1e-7),
    (embedding_pb2.VECTOR_ENCODING_FLOAT16, "<f2", 1e-3),
    (embedding_pb2.VECTOR_ENCODING_INT8, "i1", 1e-2),
])  # fmt: skip
async def test_packed_vectors_hold_the_same_values(
    stub: EmbeddingServiceStub,
    encoding: embedding_pb2.VectorEncoding,
    dtype: str,
    within: float,
) -> None:
    whole = vectors(await stub.Embed(EmbedRequest(texts=["a cat"])))[0]
    response = await stub.Embed(EmbedRequest(texts=["a cat"], encoding=encoding))
    packed = response.results[0].embedding
    scale = packed.scale if packed.HasField("scale") else 1.0
    assert 16 == packed.dimensions
    np.testing.assert_allclose(whole, np.frombuffer(packed.packed, dtype) * scale, atol=within)


@pytest.mark.parametrize(("request_", "fields"), [
    (EmbedRequest(), {"texts": "is empty: at least one is needed"}),
    (EmbedRequest(texts=["a"] * 201), {
        "texts": "201 texts, at most 200 a request: send several requests, or stream"
    }),
    (EmbedRequest(texts=["a", "", "b", ""]), {"texts[1]": "is empty", "texts[3]": "is empty"}),
    (EmbedRequest(texts=["é" * 2049]), {"texts[0]": "4098 bytes, at most 4096"}),
    (EmbedRequest(texts=["a\0b"]), {
        "texts[0]": "has a NUL character at 1: is it binary data?"
    }),
    (EmbedRequest(texts=["a"], truncation=9), {"truncation": "9 is not a Truncation"}),
    (EmbedRequest(texts=["a"], encoding=9), {"encoding": "9 is not a VectorEncoding"}),
    (EmbedRequest(texts=["a"], dimensions=0), {"dimensions": "0, at least 1"}),
    (EmbedRequest(texts=["a"], dimensions=17), {"dimensions": "17, at most 16"}),
    (EmbedRequest(texts=["a"], model="tiny-nli"), {
        "model": "'tiny-nli' is not an embedding model"
    }),
])  # fmt: skip
async def test_a_bad_request_names_its_fields_and_the_next_call_works(
    stub: EmbeddingServiceStub, request_: EmbedRequest, fields: dict[str, str]
) -> None:
    refused = await refusal(stub.Embed(request_))
    assert (grpc.StatusCode.INVALID_ARGUMENT, fields) == (refused.code, refused.fields)
    assert 1 == len((await stub.Embed(EmbedRequest(texts=["a"]))).results)


async def test_an_unknown_model_is_not_found(stub: EmbeddingServiceStub) -> None:
    refused = await refusal(stub.Embed(EmbedRequest(texts=["a"], model="nobody")))
    assert grpc.StatusCode.NOT_FOUND == refused.code
    assert "there is no model 'nobody'; loaded are: tiny-embed, tiny-nli" == refused.message
