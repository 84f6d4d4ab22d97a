"""SimilarityService: its scores are those of the vectors that Embed gives."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import InProcess
from refusals import refusal
from semserve.v1 import similarity_pb2
from semserve.v1.embedding_pb2 import EmbedRequest
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub
from semserve.v1.similarity_pb2_grpc import SimilarityServiceStub

TEXTS = ["the cat sat on the mat", "a dog eating", "rain", "the sun", "two cats"]


@pytest.fixture
def stub(service: InProcess) -> SimilarityServiceStub:
    return SimilarityServiceStub(service.channel)


@pytest.fixture
async def cosines(service: InProcess) -> np.ndarray:
    response = await EmbeddingServiceStub(service.channel).Embed(EmbedRequest(texts=TEXTS))
    rows = np.array([list(one.embedding.values) for one in response.results], np.float64)
    return rows @ rows.T


async def test_compare_scores_each_pair(stub: SimilarityServiceStub, cosines: np.ndarray) -> None:
    pairs = [similarity_pb2.ComparePair(left=TEXTS[0], right=right) for right in TEXTS]
    response = await stub.Compare(similarity_pb2.CompareRequest(pairs=pairs))
    np.testing.assert_allclose(response.scores, cosines[0], atol=1e-6)


async def test_a_text_that_recurs_is_embedded_once(service: InProcess) -> None:
    stub = SimilarityServiceStub(service.channel)
    pairs = [similarity_pb2.ComparePair(left=TEXTS[0], right=right) for right in TEXTS]
    await stub.Compare(similarity_pb2.CompareRequest(pairs=pairs))
    assert len(TEXTS) == sum(map(len, service.embedder.batches))


async def test_rank_sorts_the_documents(stub: SimilarityServiceStub, cosines: np.ndarray) -> None:
    request = similarity_pb2.RankRequest(query=TEXTS[0], documents=TEXTS[1:])
    hits = (await stub.Rank(request)).hits
    order = np.argsort(-cosines[0, 1:], kind="stable")
    assert order.tolist() == [hit.index for hit in hits]
    np.testing.assert_allclose([h.score for h in hits], cosines[0, 1:][order], atol=1e-6)
    request.top_k = 2
    assert order[:2].tolist() == [hit.index for hit in (await stub.Rank(request)).hits]


async def test_search_finds_the_best_of_the_corpus_for_each_query(
    stub: SimilarityServiceStub, cosines: np.ndarray
) -> None:
    request = similarity_pb2.SearchRequest(queries=TEXTS[:2], corpus=TEXTS, top_k=3)
    results = (await stub.Search(request)).results
    found = [[hit.index for hit in result.hits] for result in results]
    assert [np.argsort(-row, kind="stable")[:3].tolist() for row in cosines[:2]] == found


async def test_search_answers_ten_where_not_said(stub: SimilarityServiceStub) -> None:
    corpus = [f"{number} cats" for number in range(12)]
    request = similarity_pb2.SearchRequest(queries=["two"], corpus=corpus)
    assert 10 == len((await stub.Search(request)).results[0].hits)


async def test_the_matrix_of_one_list_is_symmetric(
    stub: SimilarityServiceStub, cosines: np.ndarray
) -> None:
    response = await stub.Matrix(similarity_pb2.MatrixRequest(left=TEXTS))
    rows = [list(row.scores) for row in response.rows]
    np.testing.assert_allclose(rows, cosines, atol=1e-6)


async def test_the_matrix_of_two_lists_has_a_row_each_left(
    stub: SimilarityServiceStub, cosines: np.ndarray
) -> None:
    request = similarity_pb2.MatrixRequest(left=TEXTS[:2], right=TEXTS[2:])
    rows = [list(row.scores) for row in (await stub.Matrix(request)).rows]
    np.testing.assert_allclose(rows, cosines[:2, 2:], atol=1e-6)


async def test_the_metric_can_be_chosen(stub: SimilarityServiceStub, cosines: np.ndarray) -> None:
    request = similarity_pb2.MatrixRequest(left=TEXTS, metric=similarity_pb2.METRIC_EUCLIDEAN)
    rows = [list(row.scores) for row in (await stub.Matrix(request)).rows]
    np.testing.assert_allclose(rows, -np.sqrt(np.maximum(2 - 2 * cosines, 0)), atol=2e-3)


async def test_bad_requests_name_their_fields(stub: SimilarityServiceStub) -> None:
    pb = similarity_pb2
    pairs = [pb.ComparePair(left="a", right="")]
    cases = [
        (stub.Compare(pb.CompareRequest()), {"pairs"}),
        (stub.Compare(pb.CompareRequest(pairs=pairs)), {"pairs[0].right"}),
        (stub.Compare(pb.CompareRequest(pairs=pairs, metric=9)), {"metric"}),
        (stub.Rank(pb.RankRequest(query="a")), {"documents"}),
        (stub.Rank(pb.RankRequest(documents=["a"])), {"query"}),
        (stub.Rank(pb.RankRequest(query="a", documents=["a"], top_k=0)), {"top_k"}),
        (stub.Search(pb.SearchRequest(queries=["a"])), {"corpus"}),
        (stub.Search(pb.SearchRequest(corpus=["a"])), {"queries"}),
        (stub.Search(pb.SearchRequest(queries=["a"], corpus=["\0"])), {"corpus[0]"}),
        (stub.Matrix(pb.MatrixRequest(right=["a"])), {"left"}),
        (stub.Matrix(pb.MatrixRequest(left=["a"] * 300)), {"left"}),
        (stub.Matrix(pb.MatrixRequest(left=["a"], right=["a"] * 300)), {"right"}),
    ]
    assert [fields for _, fields in cases] == [
        set((await refusal(call)).fields) for call, _ in cases
    ]
