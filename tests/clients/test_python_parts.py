"""The parts of the Python client that need no server: the module, words, requests, options."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
import semserve
from hypothesis import given
from hypothesis import strategies as st
from semserve import InvalidRequest, Retry
from semserve.calls import (
    classification,
    embedding,
    health,
    models,
    retrieval,
    scoring,
    similarity,
    sparse,
)
from semserve.requests.values import METRIC, TRUNCATION, chunks, text_bytes
from semserve.requests.work import Method
from semserve.v1 import (
    classification_pb2,
    common_pb2,
    embedding_pb2,
    model_pb2,
    score_pb2,
    similarity_pb2,
)


class TestTheModule:
    def test_exports_what_it_promises(self):
        assert [
            "CLIENT_TIMEOUT",
            "Answer",
            "AsyncClient",
            "Classification",
            "Classifications",
            "Client",
            "ClientClosed",
            "DeadlineExceeded",
            "Embeddings",
            "Hit",
            "InternalError",
            "InvalidRequest",
            "ModelInfo",
            "ModelNotFound",
            "Overloaded",
            "PairScores",
            "PermissionDenied",
            "Ranking",
            "Retry",
            "Scores",
            "SearchResults",
            "SemserveError",
            "ServerInfo",
            "SparseEmbeddings",
            "SparseVector",
            "Timing",
            "Tokens",
            "Unauthenticated",
            "Unavailable",
            "Usage",
        ] == semserve.__all__
        constant, *classes = semserve.__all__
        assert constant == repr(semserve.CLIENT_TIMEOUT)
        assert all(getattr(semserve, name).__name__ == name for name in classes)

    def test_knows_no_other_name(self):
        with pytest.raises(AttributeError, match="nonsense"):
            _ = semserve.nonsense

    def test_costs_no_more_than_what_is_used(self):
        """The stubs stand beside the client, and whoever imports them pays only for them."""
        code = "import semserve, sys; print({'grpc', 'numpy', 'semserve.client'} & {*sys.modules})"
        output = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert "set()\n" == output.stdout

    def test_asks_for_methods_that_the_schema_has(self):
        request: list[tuple[Method, Any]] = [
            (embedding.EMBED, embedding_pb2),
            (embedding.STREAM_EMBED, embedding_pb2),
            (classification.CLASSIFY, classification_pb2),
            (classification.STREAM_CLASSIFY, classification_pb2),
            (similarity.COMPARE, similarity_pb2),
            (similarity.MATRIX, similarity_pb2),
            (retrieval.RANK, similarity_pb2),
            (retrieval.SEARCH, similarity_pb2),
            (scoring.SCORE, score_pb2),
            (scoring.RERANK, score_pb2),
            (sparse.EMBED_SPARSE, embedding_pb2),
            (models.SERVER_INFO, model_pb2),
            (models.LIST, model_pb2),
            (models.GET, model_pb2),
            (models.LOAD, model_pb2),
            (models.UNLOAD, model_pb2),
            (models.TOKENIZE, model_pb2),
            (health.CHECK, health.health_pb2),
            (health.WATCH, health.health_pb2),
        ]
        for method, schema in request:
            _, service, name = method.path.split("/")
            known = schema.DESCRIPTOR.services_by_name[service.rpartition(".")[2]]
            found = known.methods_by_name[name]
            assert method.request.DESCRIPTOR is found.input_type
            assert method.response.DESCRIPTOR is found.output_type


class TestWords:
    def test_stand_for_the_schemas_numbers(self):
        assert similarity_pb2.METRIC_DOT == METRIC.number("dot")
        assert "dot" == METRIC.word(similarity_pb2.METRIC_DOT)

    def test_none_is_the_models_own(self):
        assert 0 == TRUNCATION.number(None)
        assert TRUNCATION.word(0) is None

    def test_others_are_refused_with_those_there_are(self):
        with pytest.raises(ValueError, match="'middle' is none of end, start, none"):
            TRUNCATION.number("middle")

    def test_numbers_of_the_future_stay_numbers(self):
        assert "77" == METRIC.word(77)


class TestRequests:
    def test_embed_says_no_more_than_the_caller(self):
        (part,) = embedding.embed(["a"], 256).parts
        assert embedding_pb2.EmbedRequest(texts=["a"]) == part.request
        assert not part.request.HasField("normalize")

    def test_embed_says_all_that_the_caller_said(self):
        (part,) = embedding.embed(
            ["a"],
            256,
            model="m",
            normalize=False,
            dimensions=8,
            truncation="start",
            encoding="int8",
            allow_partial=True,
        ).parts
        assert part.request.HasField("normalize")
        assert (
            embedding_pb2.EmbedRequest(
                model="m",
                texts=["a"],
                normalize=False,
                dimensions=8,
                truncation=common_pb2.TRUNCATION_START,
                encoding=embedding_pb2.VECTOR_ENCODING_INT8,
                allow_partial=True,
            )
            == part.request
        )

    def test_a_pair_has_a_hypothesis_only_where_one_is_given(self):
        (part,) = classification.classify(["alone", ("p", "h"), ("p", "")], 256).parts
        given_ones = [pair.HasField("hypothesis") for pair in part.request.pairs]
        assert [False, True, True] == given_ones

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: embedding.embed("a", 256), r"texts must be a list .* \[text\]"),
            (lambda: embedding.embed([b"a"], 256), r"texts\[0\] must be a string, not bytes"),
            (lambda: classification.classify("ab", 256), "pairs must be a list"),
            (lambda: classification.classify([("a", "b", "c")], 256), r"pairs\[0\] must be"),
            (lambda: classification.classify([("a", 1)], 256), r"pairs\[0\]\.hypothesis must be"),
            (lambda: similarity.compare(["ab"], "", None, 256), r"pairs\[0\] must be .* two texts"),
            (lambda: retrieval.rank(None, ["a"], "", None, None, 256), "query must be a string"),
        ],
    )
    def test_refuse_what_is_no_text(self, make, message):
        with pytest.raises(TypeError, match=message):
            make()

    def test_refuse_half_a_character_with_its_place(self):
        with pytest.raises(InvalidRequest) as caught:
            embedding.embed(["fine", "\ud83d"], 256)
        assert {"texts[1]": "not valid Unicode at character 0"} == caught.value.fields


class TestChunks:
    @given(st.lists(st.text(max_size=9), max_size=50), st.integers(1, 7))
    def test_hold_every_item_once_in_order(self, items, size):
        cut = chunks(items, size, text_bytes)
        assert items == [item for chunk in cut for item in chunk.items]
        assert all(len(chunk.items) <= size for chunk in cut)
        assert all(items[one.start : one.start + len(one.items)] == one.items for one in cut)

    def test_are_bounded_in_bytes(self):
        megabyte = "é" * (1 << 19)
        assert [2, 2, 1] == [len(one.items) for one in chunks([megabyte] * 5, 256, text_bytes)]

    def test_hold_a_text_that_is_too_long_alone(self):
        """The server says what is wrong with it."""
        assert [1, 1] == [len(one.items) for one in chunks(["a" * (3 << 20), "b"], 9, text_bytes)]


class TestRetrieval:
    """The best of each part of a corpus, put together, are the best of all of it."""

    @given(
        st.lists(st.integers(0, 5), min_size=1, max_size=30),
        st.one_of(st.none(), st.integers(1, 9)),
        st.integers(2, 9),
    )
    def test_rank_in_parts_is_rank_of_the_whole(self, scores, top_k, chunk):
        work = retrieval.rank("q", [f"{score}" for score in scores], "", None, top_k, chunk)
        found = work.join([work.read(part.request, ranked(part.request)) for part in work.parts])
        expected = sorted(range(len(scores)), key=lambda place: -scores[place])[:top_k]
        assert expected == [hit.index for hit in found]
        assert all(str(scores[hit.index]) == hit.text for hit in found)

    @given(
        st.lists(st.integers(0, 5), min_size=1, max_size=30),
        st.integers(1, 9),
        st.one_of(st.none(), st.integers(1, 3)),
        st.integers(2, 9),
    )
    def test_search_in_parts_is_search_of_the_whole(self, scores, queries, top_k, chunk):
        request = [str(place) for place in range(queries)]
        corpus = [str(score) for score in scores]
        work = retrieval.search(request, corpus, "", None, top_k, chunk)
        assert all(len(p.request.queries) + len(p.request.corpus) <= chunk for p in work.parts)
        found = work.join([work.read(part.request, searched(part.request)) for part in work.parts])
        # A query that is a number prefers texts near to it.
        for query, hits in zip(range(queries), found, strict=True):
            order = sorted(range(len(scores)), key=lambda place: abs(scores[place] - query))
            assert order[: top_k or 10] == [hit.index for hit in hits]


class TestOptions:
    def test_retries_are_a_service_config_of_grpc(self):
        config = json.loads(json.dumps(Retry().service_config()))
        assert [{"round_robin": {}}] == config["loadBalancingConfig"]
        (method,) = config["methodConfig"]
        assert ["UNAVAILABLE"] == method["retryPolicy"]["retryableStatusCodes"]

    def test_one_attempt_is_no_retry(self):
        assert "retryPolicy" not in Retry(attempts=1).service_config()["methodConfig"][0]

    def test_backoff_grows_to_its_bound(self):
        retry = Retry(initial_backoff=1, max_backoff=3, multiplier=2)
        assert [1, 2, 3, 3] == [retry.backoff(attempt) for attempt in (1, 2, 3, 4)]

    @pytest.mark.parametrize("attempts", [0, 6])
    def test_attempts_are_bounded(self, attempts):
        with pytest.raises(ValueError, match="not from 1 to 5"):
            Retry(attempts=attempts)

    @pytest.mark.parametrize("name", ["chunk", "in_flight", "timeout"])
    def test_refuses_what_is_not_positive(self, name):
        with pytest.raises(ValueError, match=f"{name} is 0, not positive"):
            semserve.Client(**{name: 0})

    def test_tells_where_it_calls(self):
        assert "<Client somewhere:1>" == repr(semserve.Client("somewhere:1"))


def ranked(request: similarity_pb2.RankRequest) -> similarity_pb2.RankResponse:
    """Rank as a server does: by score, equal ones in order, no more than asked for."""
    order = sorted(range(len(request.documents)), key=lambda place: -int(request.documents[place]))
    best = order[: request.top_k] if request.HasField("top_k") else order
    hits = [similarity_pb2.Hit(index=i, score=int(request.documents[i])) for i in best]
    return similarity_pb2.RankResponse(hits=hits)


def searched(request: similarity_pb2.SearchRequest) -> similarity_pb2.SearchResponse:
    """Search as a server does, where nearer numbers are more alike."""
    response = similarity_pb2.SearchResponse()
    for query in request.queries:
        distances = [abs(int(text) - int(query)) for text in request.corpus]
        order = sorted(range(len(distances)), key=distances.__getitem__)
        best = order[: request.top_k if request.HasField("top_k") else 10]
        hits = [similarity_pb2.Hit(index=place, score=-distances[place]) for place in best]
        response.results.add(hits=hits)
    return response
