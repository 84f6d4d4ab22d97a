"""ScoreService, and classifiers of two sequences, over a real server and tiny models."""

from __future__ import annotations

import grpc
import numpy as np
import pytest
import tiny_kinds
from refusals import refused
from semserve.v1.classification_pb2 import ClassifyPair, ClassifyRequest
from semserve.v1.classification_pb2_grpc import ClassificationServiceStub
from semserve.v1.common_pb2 import TRUNCATION_NONE, TRUNCATION_START
from semserve.v1.score_pb2 import RerankRequest, ScorePair, ScoreRequest
from semserve.v1.score_pb2_grpc import ScoreServiceStub
from tiny_bundles import joined, single

pytestmark = pytest.mark.xdist_group("kinds")
PAIRS = [("cat sat on", "a dog"), ("sea", "a cat sat on a mat"), ("town", "bus")]
PREMISE_FIRST, HYPOTHESIS_FIRST, SINGLE = (
    "tiny-score",
    "tiny-score-hypothesis-first",
    "tiny-regression",
)


@pytest.fixture
def stub(kinds_channel: grpc.Channel) -> ScoreServiceStub:
    return ScoreServiceStub(kinds_channel)


def pairs(*texts: tuple[str, str]) -> list[ScorePair]:
    return [ScorePair(left=left, right=right) for left, right in texts]


def logits(*texts: tuple[str, str], hypothesis_first: bool = False) -> list[float]:
    return [
        tiny_kinds.ordered_logit(joined(left, right, hypothesis_first=hypothesis_first))
        for left, right in texts
    ]


def sigmoid(values: list[float]) -> list[float]:
    return [1 / (1 + np.exp(-value)) for value in values]


def test_a_score_is_the_sigmoid_of_the_logit_of_the_pair(stub: ScoreServiceStub) -> None:
    response = stub.Score(ScoreRequest(model=PREMISE_FIRST, pairs=pairs(*PAIRS)))
    assert PREMISE_FIRST == response.model
    assert sigmoid(logits(*PAIRS)) == pytest.approx(list(response.scores), abs=1e-6)
    expected = sum(len(joined(*pair, hypothesis_first=False)) for pair in PAIRS)
    assert expected == response.usage.token_count
    assert 0 == response.truncated_tokens


def test_the_default_scorer_answers_requests_that_name_no_model(stub: ScoreServiceStub) -> None:
    assert PREMISE_FIRST == stub.Score(ScoreRequest(pairs=pairs(*PAIRS))).model
    assert PREMISE_FIRST == stub.Rerank(RerankRequest(query="a", documents=["b"])).model


def test_a_pair_alone_has_the_score_that_it_has_in_a_batch(stub: ScoreServiceStub) -> None:
    together = stub.Score(ScoreRequest(model=PREMISE_FIRST, pairs=pairs(*PAIRS))).scores
    for pair, score in zip(PAIRS, together, strict=True):
        alone = stub.Score(ScoreRequest(model=PREMISE_FIRST, pairs=pairs(pair))).scores
        assert [score] == pytest.approx(list(alone), abs=1e-6)


def test_a_regression_is_the_logit_and_the_hypothesis_may_come_first(
    stub: ScoreServiceStub,
) -> None:
    response = stub.Score(ScoreRequest(model=HYPOTHESIS_FIRST, pairs=pairs(*PAIRS)))
    assert logits(*PAIRS, hypothesis_first=True) == pytest.approx(list(response.scores), abs=1e-5)
    assert logits(*PAIRS) != pytest.approx(list(response.scores), abs=1e-2)


@pytest.mark.parametrize("model", [PREMISE_FIRST, HYPOTHESIS_FIRST])
@pytest.mark.parametrize("start", [False, True], ids=["end", "start"])
def test_truncation_keeps_the_order_of_the_texts(
    stub: ScoreServiceStub, model: str, *, start: bool
) -> None:
    """Of 12 tokens 3 are special: the longer text gives way to the shorter one of 2 words."""
    long, short = "cat sat on a mat sea sun bus town", "dog town"
    cut = " ".join(long.split()[-7:] if start else long.split()[:7])
    request = ScoreRequest(model=model, pairs=pairs((long, short)))
    if start:
        request.truncation = TRUNCATION_START
    response = stub.Score(request)
    expected = logits((cut, short), hypothesis_first=model == HYPOTHESIS_FIRST)
    if model == PREMISE_FIRST:
        expected = sigmoid(expected)
    assert expected == pytest.approx(list(response.scores), abs=1e-5)
    assert 2 == response.truncated_tokens
    assert 12 == response.usage.token_count


def test_single_texts_are_scored(stub: ScoreServiceStub) -> None:
    response = stub.Score(ScoreRequest(model=SINGLE, texts=["cat sat", "dog"]))
    expected = [tiny_kinds.ordered_logit(single(text)) for text in ("cat sat", "dog")]
    assert expected == pytest.approx(list(response.scores), abs=1e-5)


@pytest.mark.parametrize(
    ("request_", "fields", "says"),
    [
        (ScoreRequest(model=PREMISE_FIRST), {"pairs"}, "at least one"),
        (ScoreRequest(model=SINGLE), {"texts"}, "at least one"),
        (ScoreRequest(model=PREMISE_FIRST, texts=["a"]), {"texts"}, "scores pairs"),
        (ScoreRequest(model=SINGLE, pairs=pairs(("a", "b"))), {"pairs"}, "scores single texts"),
        (
            ScoreRequest(model=PREMISE_FIRST, pairs=pairs(("a", ""), ("", "b"))),
            {"pairs[0].right", "pairs[1].left"},
            "is empty",
        ),
        (
            ScoreRequest(
                model=PREMISE_FIRST, pairs=pairs(("dog " * 20, "b")), truncation=TRUNCATION_NONE
            ),
            {"pairs[0]"},
            "24 tokens, at most 12",
        ),
        (ScoreRequest(model="tiny-sided", texts=["a"]), {"model"}, "is not a score model"),
        (ScoreRequest(model=PREMISE_FIRST, pairs=pairs(*PAIRS) * 700), {"pairs"}, "at most 2048"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_scored_is_refused_by_field(
    stub: ScoreServiceStub, request_: ScoreRequest, fields: set[str], says: str
) -> None:
    error = refused(stub.Score, request_)
    assert grpc.StatusCode.INVALID_ARGUMENT == error.code
    assert fields == set(error.fields)
    assert says in error.message


def test_with_allow_partial_the_bad_pairs_are_listed(stub: ScoreServiceStub) -> None:
    requested = pairs(PAIRS[0], ("a", ""), PAIRS[1], ("dog " * 20, "b"))
    response = stub.Score(
        ScoreRequest(
            model=PREMISE_FIRST, pairs=requested, allow_partial=True, truncation=TRUNCATION_NONE
        )
    )
    assert sigmoid(logits(*PAIRS[:2])) == pytest.approx(
        [response.scores[0], response.scores[2]], abs=1e-6
    )
    assert [False, True, False, True] == np.isnan(response.scores).tolist()
    assert [1, 3] == [error.index for error in response.errors]
    assert ["pairs[1].right: is empty", "pairs[3]: 24 tokens, at most 12"] == [
        error.error.message for error in response.errors
    ]


def test_rerank_sorts_documents_by_their_score_with_the_query(stub: ScoreServiceStub) -> None:
    documents = ["a dog", "sea sun", "bus town bus town", "mat"]
    reply = stub.Rerank(RerankRequest(model=PREMISE_FIRST, query="cat sat", documents=documents))
    expected = sigmoid(logits(*(("cat sat", document) for document in documents)))
    order = np.argsort(-np.array(expected), kind="stable").tolist()
    assert order == [hit.index for hit in reply.hits]
    assert [expected[place] for place in order] == pytest.approx(
        [hit.score for hit in reply.hits], abs=1e-6
    )
    best = stub.Rerank(
        RerankRequest(model=PREMISE_FIRST, query="cat sat", documents=documents, top_k=2)
    )
    assert list(reply.hits)[:2] == list(best.hits)


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (RerankRequest(model=SINGLE, query="a", documents=["b"]), {"model"}),
        (RerankRequest(model=PREMISE_FIRST, query="a"), {"documents"}),
        (RerankRequest(model=PREMISE_FIRST, documents=["b", ""]), {"query", "documents[1]"}),
        (RerankRequest(model=PREMISE_FIRST, query="a", documents=["b"], top_k=0), {"top_k"}),
        (
            RerankRequest(
                model=PREMISE_FIRST,
                query="a",
                documents=["b", "dog " * 20],
                truncation=TRUNCATION_NONE,
            ),
            {"documents[1]"},
        ),
        (
            RerankRequest(model=PREMISE_FIRST, query="a " * 4000, documents=["b"] * 2000),
            {"query", "documents"},
        ),
    ],
    ids=["single texts", "no documents", "empty texts", "top_k 0", "too long", "too much"],
)
def test_what_cannot_be_reranked_is_refused_by_field(
    stub: ScoreServiceStub, request_: RerankRequest, fields: set[str]
) -> None:
    error = refused(stub.Rerank, request_)
    assert grpc.StatusCode.INVALID_ARGUMENT == error.code
    assert fields == set(error.fields)


def test_two_sequences_are_classified_with_their_raw_scores(kinds_channel: grpc.Channel) -> None:
    """Each text is truncated by itself, to 12 tokens of which 2 are special."""
    long = "cat sat on a mat sea sun bus town dog dog dog"
    items = [*PAIRS, (long, "sun")]
    response = ClassificationServiceStub(kinds_channel).Classify(
        ClassifyRequest(
            model="tiny-separate",
            pairs=[ClassifyPair(premise=left, hypothesis=right) for left, right in items],
        )
    )
    cut = " ".join(long.split()[:10])
    for (left, right), result in zip([*PAIRS, (cut, "sun")], response.results, strict=True):
        expected = tiny_kinds.separate_logits(left, right)
        scores = [score.score for score in result.classification.scores]
        assert expected.tolist() == pytest.approx(scores, abs=1e-5)
        assert scores == list(result.classification.logits)
        assert "xyz"[int(expected.argmax())] == result.classification.label
        assert len(single(left)) + len(single(right)) == result.token_count
    assert [0, 0, 0, 2] == [result.truncated_tokens for result in response.results]
