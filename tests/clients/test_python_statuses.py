"""What the Python client makes of statuses: errors, gaps in answers, requests sent again."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
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
)
from semserve.calls import classification, embedding
from semserve.errors import from_status, with_offset
from semserve.requests.work import Batches, Part
from semserve.transport.window import Window
from semserve.v1 import classification_pb2, embedding_pb2

FLOAT32 = embedding_pb2.VECTOR_ENCODING_FLOAT32
FLOAT16 = embedding_pb2.VECTOR_ENCODING_FLOAT16
INT8 = embedding_pb2.VECTOR_ENCODING_INT8


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
        whole = with_offset(error, "texts", 256)
        assert "texts[259]: empty" == str(whole)
        assert {"texts[259]": "empty", "model": "x"} == whole.fields

    def test_can_be_pickled(self):
        """So that they cross from a worker process."""
        error = pickle.loads(pickle.dumps(InvalidRequest("no", fields={"a": "b"})))  # noqa: S301
        assert ("no", {"a": "b"}) == (str(error), error.fields)


class TestResponses:
    def vector(self, **fields: Any) -> Any:
        result = embedding_pb2.EmbedResult(embedding=embedding_pb2.Embedding(**fields))
        response = embedding_pb2.EmbedResponse(results=[result])
        return embedding.read(embedding_pb2.EmbedRequest(), response).vectors

    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({"values": [0.5, -1, 3]}, [0.5, -1, 3]),
            ({"packed": np.array([0.5, -1, 3], "<f4").tobytes(), "encoding": FLOAT32},
             [0.5, -1, 3]),
            ({"packed": np.array([0.5, -1, 3], "<f2").tobytes(), "encoding": FLOAT16},
             [0.5, -1, 3]),
            ({"packed": np.array([1, -2, 6], "i1").tobytes(), "encoding": INT8, "scale": 0.5},
             [0.5, -1, 3]),
            ({"packed": bytes(3), "encoding": INT8, "scale": 0.0}, [0, 0, 0]),
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


class TestTheWindow:
    def window(self, bound: int, attempts: int = 3) -> Window[int]:
        stream = Batches(
            (), lambda part: part, embedding.STREAM_EMBED, embedding.EMBED,
            lambda _, r: len(r.results),
        )  # fmt: skip
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
        request = window.admitted
        window.admit(part())
        assert not window.is_unanswered(request)
        assert window.is_unanswered(window.admitted)

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


def status(code: str, message: str = "no", *details: Any) -> status_pb2.Status:
    packed = []
    for one in details:
        packed.append(any_pb2.Any())
        packed[-1].Pack(one)
    return status_pb2.Status(code=code_pb2.Code.Value(code), message=message, details=packed)


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
