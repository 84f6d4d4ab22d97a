"""Prompts, encoders for each side, and fixed lengths: what is embedded, held against numpy."""

from __future__ import annotations

import grpc
import numpy as np
import pytest
import tiny_kinds
from google.protobuf.message import Message
from numpy.typing import NDArray
from refusals import refused
from semserve.v1 import similarity_pb2 as pb
from semserve.v1.common_pb2 import SIDE_LEFT, SIDE_RIGHT, TRUNCATION_END, TRUNCATION_START, Side
from semserve.v1.embedding_pb2 import EmbedRequest, StreamEmbedRequest
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub
from semserve.v1.similarity_pb2_grpc import SimilarityServiceStub
from tiny_bundles import single

pytestmark = pytest.mark.xdist_group("kinds")
PROMPTED, SIDED = "tiny-prompted", "tiny-sided"
TEXTS = ["cat sat", "dog", "sea sun town"]


@pytest.fixture
def stub(kinds_channel: grpc.Channel) -> EmbeddingServiceStub:
    return EmbeddingServiceStub(kinds_channel)


@pytest.fixture
def similarity(kinds_channel: grpc.Channel) -> SimilarityServiceStub:
    return SimilarityServiceStub(kinds_channel)


def vectors(stub: EmbeddingServiceStub, request: EmbedRequest) -> NDArray[np.float64]:
    return np.array([list(result.embedding.values) for result in stub.Embed(request).results])


def prompted(prefix: str, text: str) -> NDArray[np.float32]:
    return tiny_kinds.mean(single(prefix + text))


@pytest.mark.parametrize(
    ("name", "prefix"),
    [("query", "query: "), ("passage", "passage: "), (None, "passage: "), ("", ""), ("bare", "")],
)
def test_a_prompt_is_put_before_each_text(
    stub: EmbeddingServiceStub, name: str | None, prefix: str
) -> None:
    """Left out: the model's default prompt. Empty: none."""
    request = EmbedRequest(model=PROMPTED, texts=TEXTS, prompt_name=name)
    expected = [prompted(prefix, text) for text in TEXTS]
    np.testing.assert_allclose(vectors(stub, request), expected, atol=1e-6)
    message = StreamEmbedRequest(id="a", request=request)
    (streamed,) = stub.StreamEmbed(iter([message]))
    values = [list(result.embedding.values) for result in streamed.response.results]
    np.testing.assert_allclose(values, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "request_"),
    [
        ("Compare", pb.CompareRequest(pairs=[pb.ComparePair(left="a", right="b")])),
        ("Rank", pb.RankRequest(query="a", documents=["b"])),
        ("Search", pb.SearchRequest(queries=["a"], corpus=["b"])),
        ("Matrix", pb.MatrixRequest(left=["a"])),
    ],
)
def test_an_unknown_prompt_is_refused_with_the_known_ones(
    similarity: SimilarityServiceStub, call: str, request_: Message
) -> None:
    second = "right_prompt_name" if call in {"Compare", "Matrix"} else "document_prompt_name"
    for field in ("prompt_name", second):
        request = type(request_)()
        request.CopyFrom(request_)
        setattr(request, "model", PROMPTED)  # noqa: B010  (a field of each of the messages)
        setattr(request, field, "title")
        error = refused(getattr(similarity, call), request)
        assert grpc.StatusCode.INVALID_ARGUMENT == error.code
        reason = f"{PROMPTED} has no prompt 'title'; its prompts are: bare, passage, query"
        assert {field: reason} == error.fields


def test_a_model_without_prompts_knows_none(stub: EmbeddingServiceStub) -> None:
    request = EmbedRequest(model=SIDED, texts=["a"], side=SIDE_LEFT, prompt_name="query")
    error = refused(stub.Embed, request)
    assert {"prompt_name": "tiny-sided has no prompt 'query'; it has none"} == error.fields
    request.prompt_name = ""
    assert 1 == len(stub.Embed(request).results)


def test_queries_and_documents_may_have_different_prompts(
    similarity: SimilarityServiceStub,
) -> None:
    left = np.array([prompted("query: ", text) for text in TEXTS])
    right = np.array([prompted("passage: ", text) for text in TEXTS])
    names = {"model": PROMPTED, "prompt_name": "query"}
    pairs = [pb.ComparePair(left=text, right=text) for text in TEXTS]
    compared = similarity.Compare(
        pb.CompareRequest(pairs=pairs, right_prompt_name="passage", **names)
    )
    np.testing.assert_allclose(compared.scores, (left * right).sum(axis=1), atol=1e-5)
    matrix = similarity.Matrix(pb.MatrixRequest(left=TEXTS, right_prompt_name="passage", **names))
    np.testing.assert_allclose([row.scores for row in matrix.rows], left @ right.T, atol=1e-5)
    ranked = similarity.Rank(
        pb.RankRequest(query=TEXTS[0], documents=TEXTS, document_prompt_name="passage", **names)
    )
    scores = right @ left[0]
    assert np.argsort(-scores).tolist() == [hit.index for hit in ranked.hits]
    np.testing.assert_allclose([hit.score for hit in ranked.hits], -np.sort(-scores), atol=1e-5)
    reply = similarity.Search(
        pb.SearchRequest(queries=TEXTS, corpus=TEXTS, document_prompt_name="passage", **names)
    )
    best = [result.hits[0].index for result in reply.results]
    assert (left @ right.T).argmax(axis=1).tolist() == best
    same = similarity.Matrix(pb.MatrixRequest(left=TEXTS, **names))
    np.testing.assert_allclose([row.scores for row in same.rows], left @ left.T, atol=1e-5)


@pytest.mark.parametrize(("side", "place"), [(SIDE_LEFT, 0), (SIDE_RIGHT, 1)])
def test_each_side_has_its_encoder(
    stub: EmbeddingServiceStub, side: Side.ValueType, place: int
) -> None:
    request = EmbedRequest(model=SIDED, texts=TEXTS, side=side)
    expected = [tiny_kinds.sided_vector(text, place) for text in TEXTS]
    np.testing.assert_allclose(vectors(stub, request), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("model", "side", "says"),
    [
        (SIDED, 0, "is missing: this model has an encoder for each side"),
        (SIDED, 7, "7 is not a Side"),
        (PROMPTED, SIDE_LEFT, "is given, but this model has one encoder for all"),
    ],
)
def test_a_side_is_asked_for_where_there_are_sides_and_nowhere_else(
    stub: EmbeddingServiceStub, model: str, side: Side.ValueType, says: str
) -> None:
    error = refused(stub.Embed, EmbedRequest(model=model, texts=["a"], side=side))
    assert grpc.StatusCode.INVALID_ARGUMENT == error.code
    assert {"side": says} == error.fields


def test_left_texts_and_queries_are_left_right_texts_and_documents_right(
    similarity: SimilarityServiceStub,
) -> None:
    """The same text on both sides has two vectors."""
    sides = [
        np.array([tiny_kinds.sided_vector(text, side) for text in TEXTS], np.float64)
        for side in (0, 1)
    ]
    left, right = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in sides)
    pairs = [pb.ComparePair(left=text, right=text) for text in TEXTS]
    compared = similarity.Compare(pb.CompareRequest(model=SIDED, pairs=pairs))
    np.testing.assert_allclose(compared.scores, (left * right).sum(axis=1), atol=1e-5)
    for request in (
        pb.MatrixRequest(model=SIDED, left=TEXTS, right=TEXTS),
        pb.MatrixRequest(model=SIDED, left=TEXTS),
    ):
        rows = [row.scores for row in similarity.Matrix(request).rows]
        np.testing.assert_allclose(rows, left @ right.T, atol=1e-5)
    ranked = similarity.Rank(pb.RankRequest(model=SIDED, query=TEXTS[1], documents=TEXTS))
    assert np.argsort(-(right @ left[1])).tolist() == [hit.index for hit in ranked.hits]
    reply = similarity.Search(pb.SearchRequest(model=SIDED, queries=TEXTS, corpus=TEXTS))
    best = [result.hits[0].index for result in reply.results]
    assert (left @ right.T).argmax(axis=1).tolist() == best


def test_a_matrix_of_texts_that_are_read_twice_is_bounded_so(
    similarity: SimilarityServiceStub,
) -> None:
    error = refused(similarity.Matrix, pb.MatrixRequest(model=SIDED, left=["a"] * 1025))
    assert grpc.StatusCode.INVALID_ARGUMENT == error.code
    assert {"left"} == set(error.fields)


def test_similarity_answers_tell_what_was_truncated(similarity: SimilarityServiceStub) -> None:
    """Each different text is counted once: 12 tokens are read, 2 of them special."""
    long = "dog " * 15  # 17 tokens with the special ones, 18 with the default prompt
    pairs = [pb.ComparePair(left=long, right="cat")]
    request = {"model": PROMPTED}
    for answer in (
        similarity.Compare(pb.CompareRequest(pairs=pairs * 2, **request)),
        similarity.Rank(pb.RankRequest(query="cat", documents=[long, long], **request)),
        similarity.Search(pb.SearchRequest(queries=["cat"], corpus=[long], **request)),
        similarity.Matrix(pb.MatrixRequest(left=["cat", long], **request)),
    ):
        assert 6 == answer.truncated_tokens
    assert (
        0
        == similarity.Rank(
            pb.RankRequest(query="cat", documents=["dog"], **request)
        ).truncated_tokens
    )


@pytest.mark.parametrize("start", [False, True], ids=["end", "start"])
def test_every_text_is_padded_to_the_fixed_length(
    stub: EmbeddingServiceStub, *, start: bool
) -> None:
    """A model without a mask sees its padding, so the length must be that of its training."""
    name = f"tiny-padded-{'start' if start else 'end'}"
    texts = ["cat sat", "dog", "...", "cat sat on a mat sea sun bus town dog dog dog mat sea"]
    answer = stub.Embed(EmbedRequest(model=name, texts=texts))
    expected = [tiny_kinds.padded_vector(text, start=start) for text in texts]
    embeddings = [list(result.embedding.values) for result in answer.results]
    np.testing.assert_allclose(embeddings, expected, atol=1e-5)
    assert [2, 1, 1, 12] == [result.token_count for result in answer.results]
    assert [0, 0, 0, 2] == [result.truncated_tokens for result in answer.results]
    assert 16 == answer.usage.token_count
    assert 4 * 12 == answer.usage.padded_token_count


def test_a_request_may_truncate_at_the_other_end_than_the_model(
    stub: EmbeddingServiceStub,
) -> None:
    text = "cat sat on a mat sea sun bus town dog dog dog mat sea"
    for start, rule in ((True, TRUNCATION_END), (False, TRUNCATION_START)):
        name = f"tiny-padded-{'start' if start else 'end'}"
        words = text.split()[:12] if start else text.split()[-12:]
        embeddings = vectors(stub, EmbedRequest(model=name, texts=[text], truncation=rule))
        expected = tiny_kinds.padded_vector(" ".join(words), start=start)
        np.testing.assert_allclose(embeddings[0], expected, atol=1e-5)
