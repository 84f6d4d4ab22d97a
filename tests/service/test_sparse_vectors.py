"""EmbedSparse over a real server and a tiny model, held against numpy."""

from __future__ import annotations

import grpc
import numpy as np
import pytest
import tiny_kinds
from refusals import refused
from semserve.v1.common_pb2 import TRUNCATION_NONE
from semserve.v1.embedding_pb2 import EmbedSparseRequest
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub
from tiny_bundles import VOCABULARY, single

pytestmark = pytest.mark.xdist_group("kinds")
TEXTS = ["cat sat on a mat", "dog", "sea sun town"]


@pytest.fixture
def stub(kinds_channel: grpc.Channel) -> EmbeddingServiceStub:
    return EmbeddingServiceStub(kinds_channel)


def test_weights_are_those_of_numpy_and_nothing_else(stub: EmbeddingServiceStub) -> None:
    response = stub.EmbedSparse(EmbedSparseRequest(texts=TEXTS))
    assert "tiny-sparse" == response.model
    for text, result in zip(TEXTS, response.results, strict=True):
        weights = tiny_kinds.sparse_weights(text)
        assert np.flatnonzero(weights).tolist() == list(result.indices)
        assert weights[weights > 0].tolist() == pytest.approx(list(result.values), abs=1e-6)
        assert len(single(text)) == result.token_count
        assert [] == list(result.tokens)
    assert sum(len(single(text)) for text in TEXTS) == response.usage.token_count


def test_a_text_alone_has_the_weights_that_it_has_in_a_batch(stub: EmbeddingServiceStub) -> None:
    together = stub.EmbedSparse(EmbedSparseRequest(texts=TEXTS)).results
    for text, result in zip(TEXTS, together, strict=True):
        (alone,) = stub.EmbedSparse(EmbedSparseRequest(texts=[text])).results
        assert list(result.indices) == list(alone.indices)
        assert list(result.values) == pytest.approx(list(alone.values), abs=1e-6)


def test_top_k_keeps_the_largest_weights_in_the_order_of_the_indices(
    stub: EmbeddingServiceStub,
) -> None:
    for top_k in (1, 3, 10_000):
        response = stub.EmbedSparse(EmbedSparseRequest(texts=TEXTS, top_k=top_k))
        for text, result in zip(TEXTS, response.results, strict=True):
            weights = tiny_kinds.sparse_weights(text)
            most = min(top_k, int((weights > 0).sum()))
            kept = np.sort(np.argsort(-weights, kind="stable")[:most])
            assert kept.tolist() == list(result.indices)


def test_tokens_name_the_indices(stub: EmbeddingServiceStub) -> None:
    response = stub.EmbedSparse(EmbedSparseRequest(texts=TEXTS, include_tokens=True))
    for result in response.results:
        assert [VOCABULARY[index] for index in result.indices] == list(result.tokens)


def test_a_prompt_is_put_before_the_text(stub: EmbeddingServiceStub) -> None:
    (given,) = stub.EmbedSparse(EmbedSparseRequest(texts=["dog"], prompt_name="query")).results
    (written,) = stub.EmbedSparse(EmbedSparseRequest(texts=["query: dog"])).results
    assert written == given


def test_a_request_of_many_texts_is_answered_whole(stub: EmbeddingServiceStub) -> None:
    """The answer is written on the thread of scores, in several pieces of work."""
    response = stub.EmbedSparse(EmbedSparseRequest(texts=TEXTS * 400, include_tokens=True))
    assert 1200 == len(response.results)
    first = list(response.results[:3])
    assert all(first == list(response.results[at : at + 3]) for at in range(0, 1200, 3))


def test_with_allow_partial_the_good_texts_are_answered(stub: EmbeddingServiceStub) -> None:
    response = stub.EmbedSparse(
        EmbedSparseRequest(
            texts=["", "dog", "dog " * 20, "cat"], allow_partial=True, truncation=TRUNCATION_NONE
        )
    )
    messages = [result.error.message for result in response.results]
    assert ["texts[0]: is empty", "", "texts[2]: 22 tokens, at most 12", ""] == messages
    for text, result in (("dog", response.results[1]), ("cat", response.results[3])):
        assert np.flatnonzero(tiny_kinds.sparse_weights(text)).tolist() == list(result.indices)


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (EmbedSparseRequest(), {"texts"}),
        (EmbedSparseRequest(texts=["a", ""]), {"texts[1]"}),
        (EmbedSparseRequest(texts=["a"], top_k=0), {"top_k"}),
        (EmbedSparseRequest(texts=["a"], prompt_name="x"), {"prompt_name"}),
        (EmbedSparseRequest(texts=["a"], model="tiny-sided"), {"model"}),
        (EmbedSparseRequest(texts=["a"] * 2049), {"texts"}),
    ],
    ids=["nothing", "an empty text", "top_k 0", "a prompt", "another task", "too many"],
)
def test_what_cannot_be_embedded_is_refused_by_field(
    stub: EmbeddingServiceStub, request_: EmbedSparseRequest, fields: set[str]
) -> None:
    error = refused(stub.EmbedSparse, request_)
    assert grpc.StatusCode.INVALID_ARGUMENT == error.code
    assert fields == set(error.fields)
