"""The parts of the Python client that need no server: conversions, errors, windows, options."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import semserve
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st
from semserve import (
    DeadlineExceeded,
    InternalError,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    PermissionDenied,
    Retry,
    SemserveError,
    Unauthenticated,
    Unavailable,
    Usage,
    classification,
    embedding,
    health,
    models,
    retrieval,
    similarity,
)
from semserve.errors import from_status, moved
from semserve.v1 import (
    classification_pb2,
    common_pb2,
    embedding_pb2,
    model_pb2,
    similarity_pb2,
)
from semserve.values import METRIC, TRUNCATION, chunks, text_bytes
from semserve.window import Window
from semserve.work import Batches, Method, Part


def status(code: str, message: str = "no", *details: Any) -> status_pb2.Status:
    packed = []
    for one in details:
        packed.append(any_pb2.Any())
        packed[-1].Pack(one)
    return status_pb2.Status(code=code_pb2.Code.Value(code), message=message, details=packed)


class TestTheModule:
    def test_exports_what_it_promises(self):
        assert [
            "Answer",
            "AsyncClient",
            "Classification",
            "Classifications",
            "Client",
            "DeadlineExceeded",
            "Embeddings",
            "Hit",
            "InternalError",
            "InvalidRequest",
            "ModelInfo",
            "ModelNotFound",
            "Overloaded",
            "PermissionDenied",
            "Ranking",
            "Retry",
            "Scores",
            "SearchResults",
            "SemserveError",
            "Tokens",
            "Unauthenticated",
            "Unavailable",
            "Usage",
        ] == semserve.__all__
        assert all(getattr(semserve, name).__name__ == name for name in semserve.__all__)

    def test_knows_no_other_name(self):
        with pytest.raises(AttributeError, match="nonsense"):
            _ = semserve.nonsense

    def test_costs_no_more_than_what_is_used(self):
        """The stubs stand beside the client, and whoever imports them pays only for them."""
        code = "import semserve, sys; print({'grpc', 'numpy', 'semserve.client'} & {*sys.modules})"
        said = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert "set()\n" == said.stdout

    def test_asks_for_methods_that_the_schema_has(self):
        asked: list[tuple[Method, Any]] = [
            (embedding.EMBED, embedding_pb2),
            (embedding.STREAM_EMBED, embedding_pb2),
            (classification.CLASSIFY, classification_pb2),
            (classification.STREAM_CLASSIFY, classification_pb2),
            (similarity.COMPARE, similarity_pb2),
            (similarity.MATRIX, similarity_pb2),
            (retrieval.RANK, similarity_pb2),
            (retrieval.SEARCH, similarity_pb2),
            (models.LIST, model_pb2),
            (models.GET, model_pb2),
            (models.TOKENIZE, model_pb2),
            (health.CHECK, health.health_pb2),
            (health.WATCH, health.health_pb2),
        ]
        for method, schema in asked:
            _, service, name = method.path.split("/")
            known = schema.DESCRIPTOR.services_by_name[service.rpartition(".")[2]]
            found = known.methods_by_name[name]
            assert method.request.DESCRIPTOR is found.input_type
            assert method.response.DESCRIPTOR is found.output_type


class TestErrors:
    @pytest.mark.parametrize(
        ("code", "kind"),
        [
            ("INVALID_ARGUMENT", InvalidRequest),
            ("NOT_FOUND", ModelNotFound),
            ("RESOURCE_EXHAUSTED", Overloaded),
            ("UNAVAILABLE", Unavailable),
            ("DEADLINE_EXCEEDED", DeadlineExceeded),
            ("UNAUTHENTICATED", Unauthenticated),
            ("PERMISSION_DENIED", PermissionDenied),
            ("INTERNAL", InternalError),
            ("UNKNOWN", InternalError),
            ("DATA_LOSS", InternalError),
            ("UNIMPLEMENTED", SemserveError),
        ],
    )
    def test_each_status_has_its_class(self, code, kind):
        error = from_status(status(code, "why"))
        assert (kind, code, "why") == (type(error), error.code, str(error))

    def test_a_status_of_the_future_is_still_an_error(self):
        assert SemserveError in type(from_status(status_pb2.Status(code=99))).__mro__

    def test_a_status_without_words_says_its_name(self):
        assert "not found" == str(from_status(status("NOT_FOUND", "")))

    def test_name_the_fields(self):
        bad = error_details_pb2.BadRequest()
        bad.field_violations.add(field="texts[3]", description="is empty")
        bad.field_violations.add(field="dimensions", description="too many")
        error = from_status(status("INVALID_ARGUMENT", "wrong", bad))
        assert {"texts[3]": "is empty", "dimensions": "too many"} == error.fields

    def test_tell_when_to_come_back(self):
        info = error_details_pb2.RetryInfo()
        info.retry_delay.FromMilliseconds(250)
        assert 0.25 == from_status(status("RESOURCE_EXHAUSTED", "full", info)).retry_after

    def test_of_a_part_name_the_places_of_the_whole(self):
        error = InvalidRequest("texts[3]: empty", fields={"texts[3]": "empty", "model": "x"})
        whole = moved(error, "texts", 256)
        assert "texts[259]: empty" == str(whole)
        assert {"texts[259]": "empty", "model": "x"} == whole.fields

    def test_can_be_pickled(self):
        """So that they cross from a worker process."""
        error = pickle.loads(pickle.dumps(InvalidRequest("no", fields={"a": "b"})))  # noqa: S301
        assert ("no", {"a": "b"}) == (str(error), error.fields)


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
            (lambda: similarity.compare(["ab"], "", None, 256), r"pairs\[0\] must be two texts"),
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


class TestResponses:
    def vector(self, **fields: Any) -> Any:
        result = embedding_pb2.EmbedResult(embedding=embedding_pb2.Embedding(**fields))
        response = embedding_pb2.EmbedResponse(results=[result])
        return embedding.read(embedding_pb2.EmbedRequest(), response).vectors

    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({"values": [0.5, -1, 3]}, [0.5, -1, 3]),
            ({"packed": np.array([0.5, -1, 3], "<f4").tobytes(), "dimensions": 3}, [0.5, -1, 3]),
            ({"packed": np.array([0.5, -1, 3], "<f2").tobytes(), "dimensions": 3}, [0.5, -1, 3]),
            ({"packed": np.array([1, -2, 6], "i1").tobytes(), "dimensions": 3, "scale": 0.5},
             [0.5, -1, 3]),
            ({"packed": bytes(3), "dimensions": 3, "scale": 0.0}, [0, 0, 0]),
        ],
    )  # fmt: skip
    def test_read_a_vector_whichever_way_it_travelled(self, fields, expected):
        vectors = self.vector(**fields)
        assert np.float32 == vectors.dtype
        np.testing.assert_array_equal([expected], vectors)

    def test_leave_a_gap_where_a_text_failed(self):
        found = embedding.read(embedding_pb2.EmbedRequest(), partial(bad={1}, count=3))
        assert [False, True, False] == np.isnan(found.vectors).all(axis=1).tolist()
        assert {1} == found.errors.keys()
        assert isinstance(found.errors[1], InvalidRequest)

    def test_join_in_order_even_where_a_whole_part_failed(self):
        parts = [
            embedding.read(embedding_pb2.EmbedRequest(), partial(bad=bad, count=2))
            for bad in ({0, 1}, {1}, set())
        ]
        found = embedding.join(parts)
        assert (6, 2) == found.vectors.shape == np.asarray(found).shape
        assert {0, 1, 3} == found.errors.keys()
        assert {"texts[3]": "is empty"} == found.errors[3].fields
        assert [0, 2, 0, 2, 0, 2] == found.token_counts.tolist()
        assert Usage(6, 12) == found.usage

    def test_an_array_of_embeddings_is_theirs(self):
        found = embedding.read(embedding_pb2.EmbedRequest(), partial(bad=set(), count=2))
        assert np.asarray(found) is found.vectors
        assert np.float64 == np.asarray(found, dtype=np.float64).dtype
        assert np.array(found, copy=True) is not found.vectors
        assert 2 == len(found)
        np.testing.assert_array_equal(found[1], found.vectors[1])

    def test_classifications_raise_in_the_place_of_one_that_failed(self):
        bad = classification_pb2.ClassifyResult(error=status("INVALID_ARGUMENT", "empty"))
        good = classification_pb2.ClassifyResult(
            classification=classification_pb2.Classification(
                label="b",
                scores=[
                    classification_pb2.LabelScore(label="a", score=0.25),
                    classification_pb2.LabelScore(label="b", score=0.75),
                ],
                logits=[0, 1],
            )
        )
        response = classification_pb2.ClassifyResponse(results=[bad, good])
        found = classification.read(classification_pb2.ClassifyRequest(), response)
        assert (("a", "b"), ("", "b")) == (found.classes, found.labels)
        assert {"a": 0.25, "b": 0.75} == found[1].scores == found[-1].scores
        with pytest.raises(InvalidRequest, match="empty"):
            _ = found[0]
        with pytest.raises(IndexError):
            _ = found[2]


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
        asked = [str(place) for place in range(queries)]
        corpus = [str(score) for score in scores]
        work = retrieval.search(asked, corpus, "", None, top_k, chunk)
        assert all(len(p.request.queries) + len(p.request.corpus) <= chunk for p in work.parts)
        found = work.join([work.read(part.request, searched(part.request)) for part in work.parts])
        # A query that is a number prefers texts near to it.
        for query, hits in zip(range(queries), found, strict=True):
            order = sorted(range(len(scores)), key=lambda place: abs(scores[place] - query))
            assert order[: top_k or 10] == [hit.index for hit in hits]


class TestOptions:
    def test_retries_are_a_service_config_that_grpc_understands(self):
        config = json.loads(dict(semserve.Client()._channel_arguments())["grpc.service_config"])
        assert [{"round_robin": {}}] == config["loadBalancingConfig"]
        (method,) = config["methodConfig"]
        assert {"UNAVAILABLE", "RESOURCE_EXHAUSTED"} == {
            *method["retryPolicy"]["retryableStatusCodes"]
        }

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


class TestTheWindow:
    def window(self, bound: int, attempts: int = 3) -> Window[int]:
        stream = Batches((), lambda part: part, embedding.STREAM_EMBED, lambda _, r: len(r.results))
        return Window(stream, bound, Retry(attempts=attempts, initial_backoff=1))

    def settled(self, window: Window[int], name: str, now: float, error: Any = None) -> Any:
        message = embedding_pb2.StreamEmbedResponse(id=name)
        if error is None:
            message.response.SetInParent()
        else:
            message.error.CopyFrom(error)
        return window.settle(message, now)

    def test_says_how_it_stands(self):
        window = self.window(bound=2)
        window.admit(part())
        assert "<Window 1 in flight, 0 waiting, bound 2>" == repr(window)
        self.settled(window, "0", now=0, error=status("UNAVAILABLE"))
        assert "<Window 0 in flight, 1 waiting, bound 2>" == repr(window)

    def test_waits_as_long_as_the_server_asks_and_else_backs_off(self):
        window = self.window(bound=2)
        window.admit(part())
        window.admit(part())
        info = error_details_pb2.RetryInfo()
        info.retry_delay.FromSeconds(7)
        self.settled(window, "0", 100, status("RESOURCE_EXHAUSTED", "full", info))
        assert 107 == window.due
        self.settled(window, "1", 100, status("UNAVAILABLE"))
        assert 101 == window.due
        assert window.again(100.5) is None
        assert "1" == window.again(101).id
        assert "0" == window.again(107).id

    def test_answers_at_once_what_would_fail_again(self):
        window = self.window(bound=1)
        window.admit(part())
        answer = self.settled(window, "0", 0, status("INVALID_ARGUMENT"))
        assert isinstance(answer.error, InvalidRequest)
        assert window.empty

    def test_owes_only_what_was_asked_before(self):
        """So that a source that takes its time makes nobody late."""
        window = self.window(bound=3)
        asked = window.admitted
        window.admit(part())
        assert not window.owes(asked)
        assert window.owes(window.admitted)

    @given(st.data())
    def test_answers_each_once_within_its_bound_whatever_fails(self, data):
        bound, count = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 12))
        window, now, flying, answers = self.window(bound), 0.0, [], []
        admitted = 0
        while admitted < count or not window.empty:
            if admitted < count and not window.full:
                flying.append(window.admit(part()).id)
                admitted += 1
            elif again := window.again(now):
                flying.append(again.id)
            elif flying:
                name = flying.pop(data.draw(st.integers(0, len(flying) - 1)))
                error = data.draw(st.sampled_from([None, status("UNAVAILABLE")]))
                answers.append(self.settled(window, name, now, error))
            else:
                assert window.due is not None
                now = window.due
            assert len(flying) <= bound
        found = [answer.index for answer in answers if answer is not None]
        assert list(range(count)) == sorted(found)


def part() -> Part:
    return Part(embedding_pb2.EmbedRequest(texts=["x"]))


def partial(bad: set[int], count: int) -> embedding_pb2.EmbedResponse:
    """Make a response of vectors of two dimensions, with errors at the bad places."""
    response = embedding_pb2.EmbedResponse(model="m")
    response.usage.token_count, response.usage.padded_token_count = 2, 4
    for place in range(count):
        result = response.results.add(token_count=2 * (place % 2))
        if place in bad:
            fields = error_details_pb2.BadRequest()
            fields.field_violations.add(field=f"texts[{place}]", description="is empty")
            result.error.CopyFrom(status("INVALID_ARGUMENT", f"texts[{place}]: is empty", fields))
        else:
            result.embedding.values.extend([place, 1])
    return response


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
