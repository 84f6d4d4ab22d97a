"""What the Python clients do on streams that shed, stall, break, or are left."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from semserve import (
    AsyncClient,
    Client,
    DeadlineExceeded,
    InternalError,
    Overloaded,
    PermissionDenied,
    Retry,
    Unauthenticated,
    Unavailable,
)
from semserve.v1 import embedding_pb2

QUICK = Retry(attempts=3, initial_backoff=0.01)


class TestAStream:
    def test_sends_again_what_was_shed(self, ask, scripted):
        """A server that sheds every request once still answers all, each once."""
        seen = Counter()

        def stream(requests, _):
            for message in requests:
                seen[message.id] += 1
                yield answered(message) if seen[message.id] > 1 else shed(message)

        scripted.stream = stream
        answers = ask(scripted.address, {"retry": QUICK}, "stream_embed", batches(10))
        assert dict.fromkeys(range(10), 1) == Counter(one.index for one in answers)
        assert all([[one.index + 1.0]] == one.result.vectors.tolist() for one in answers)

    def test_answers_with_the_error_what_is_shed_too_often(self, ask, scripted):
        scripted.stream = lambda requests, _: map(shed, requests)
        (only,) = ask(scripted.address, {"retry": QUICK}, "stream_embed", batches(1))
        assert isinstance(only.error, Overloaded)
        with pytest.raises(Overloaded, match="the queue is full"):
            _ = only.result

    def test_long_lists_survive_shedding_in_order(self, ask, scripted):
        shedding = itertools.cycle([True, False, True, False, False])

        def stream(requests, _):
            for message in requests:
                yield shed(message) if next(shedding) else answered(message)

        scripted.stream = stream
        texts = ["x" * (1 + place) for place in range(100)]
        options = {"chunk": 7, "retry": Retry(attempts=5)}
        found = ask(scripted.address, options, "embed", texts)
        np.testing.assert_array_equal(np.arange(1, 101), found.vectors[:, 0])

    def test_keeps_at_most_its_bound_in_flight(self, ask, scripted):
        """The source is read no further ahead of the answers than the bound allows."""
        read = answers = ahead = 0

        def source():
            nonlocal read, ahead
            for batch in batches(30):
                read += 1
                ahead = max(ahead, read - answers)
                yield batch

        def stream(requests, _):
            nonlocal answers
            held = []
            for message in requests:
                held.append(message)
                if len(held) == 3:  # so a client that kept fewer in flight would wait in vain
                    answers += 1
                    yield answered(held.pop())
                if message.id == "29":
                    yield from map(answered, held)

        scripted.stream = stream
        options = {"in_flight": 3, "timeout": 20}
        assert 30 == len(ask(scripted.address, options, "stream_embed", source()))
        assert 3 == ahead

    def test_gives_every_answer_before_the_error_of_the_source(self, ask, scripted):
        class SourceError(Exception):
            pass

        def source():
            yield from batches(2)
            raise SourceError

        scripted.stream = lambda requests, _: map(answered, requests)
        with pytest.raises(SourceError):
            ask(scripted.address, {}, "stream_embed", source())

    def test_that_is_left_is_cancelled(self, scripted):
        """At once, and not only when the client is closed."""
        scripted.stream = lambda requests, _: map(answered, requests)
        with Client(scripted.address) as client:
            answers = client.stream_embed(itertools.repeat(["x"]))
            assert [[1]] == next(answers).result.vectors.tolist()
            answers.close()
            assert scripted.ended.wait(30)

    async def test_that_is_left_is_cancelled_asyncio(self, scripted):
        scripted.stream = lambda requests, _: map(answered, requests)
        async with AsyncClient(scripted.address) as client:
            answers = client.stream_embed(itertools.repeat(["x"]))
            assert [[1]] == (await anext(answers)).result.vectors.tolist()
            await answers.aclose()
            assert await asyncio.to_thread(scripted.ended.wait, 30)

    def test_that_ends_in_an_error_raises_it(self, ask, scripted):
        def stream(requests, context):
            yield answered(next(requests))
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "another key")

        scripted.stream = stream
        with pytest.raises(PermissionDenied, match="another key"):
            ask(scripted.address, {}, "stream_embed", batches(5))

    def test_goes_on_where_the_server_goes_away(self, ask, scripted):
        """What the server had and did not answer is sent again on another stream."""

        def stream(requests, context):
            yield answered(next(requests))
            if len(scripted.contexts) < 4:
                next(requests)
                context.abort(grpc.StatusCode.UNAVAILABLE, "stopping")
            yield from map(answered, requests)

        scripted.stream = stream
        answers = ask(scripted.address, {"retry": QUICK}, "stream_embed", batches(12))
        assert list(range(12)) == sorted(answer.index for answer in answers)
        assert [None] * 12 == [answer.error for answer in answers]
        assert 4 == len(scripted.contexts)

    def test_that_breaks_too_often_raises_the_error(self, ask, scripted):
        def stream(_, context):
            context.abort(grpc.StatusCode.UNAVAILABLE, "stopping")

        scripted.stream = stream
        with pytest.raises(Unavailable, match="stopping"):
            ask(scripted.address, {"retry": QUICK}, "stream_embed", batches(5))
        # Three streams, each of which gRPC itself tries up to three times.
        assert 3 <= len(scripted.contexts) <= 9

    async def test_that_ends_while_requests_are_sent_tells_why_every_time(self, scripted):
        """grpc.aio alone tells so half of the times."""

        def stream(requests, context):
            yield answered(next(requests))
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you")

        scripted.stream = stream
        async with AsyncClient(scripted.address, in_flight=50) as client:
            for _ in range(30):
                with pytest.raises(Unauthenticated, match="who are you"):
                    _ = [answer async for answer in client.stream_embed(batches(50))]

    @pytest.mark.parametrize("count", [1, 5])
    def test_that_the_server_ends_early_is_an_error(self, ask, scripted, count):
        """Whether it took the last request or not."""
        scripted.stream = lambda requests, _: iter([next(requests)][:0])
        with pytest.raises(InternalError, match="ended the stream too early"):
            ask(scripted.address, {}, "stream_embed", batches(count))

    def test_that_is_silent_for_too_long_is_given_up(self, ask, scripted):
        def stream(_requests, _context):
            scripted.released.wait(60)
            yield from ()

        scripted.stream = stream
        with pytest.raises(DeadlineExceeded, match=r"no answer on the stream for 0\.2 s"):
            ask(scripted.address, {}, "stream_embed", batches(1), timeout=0.2)
        assert scripted.ended.wait(30)

    def test_refuses_an_answer_to_what_was_not_asked(self, ask, scripted):
        def stream(requests, _):
            message = next(requests)
            message.id = "another"
            yield answered(message)

        scripted.stream = stream
        with pytest.raises(InternalError, match="'another'"):
            ask(scripted.address, {}, "stream_embed", batches(1))

    def test_of_what_is_no_list_of_lists_is_refused(self, ask, scripted):
        scripted.stream = lambda requests, _: map(answered, requests)
        for source in (5, [5], ["one string"]):
            with pytest.raises(TypeError):
                ask(scripted.address, {}, "stream_embed", source)

    def test_of_nothing_is_empty(self, ask, scripted):
        scripted.stream = lambda requests, _: map(answered, requests)
        assert [] == ask(scripted.address, {}, "stream_embed", [])

    async def test_takes_an_async_source(self, scripted):
        scripted.stream = lambda requests, _: map(answered, requests)

        async def source():
            for batch in batches(5):
                yield batch

        async with AsyncClient(scripted.address) as client:
            found = [answer.index async for answer in client.stream_embed(source())]
        assert [0, 1, 2, 3, 4] == found


def batches(count: int) -> Iterator[list[str]]:
    """Batches of one text each, the longer the later."""
    return (["x" * (1 + place)] for place in range(count))


def answered(message: Any) -> embedding_pb2.StreamEmbedResponse:
    results = [
        embedding_pb2.EmbedResult(embedding=embedding_pb2.Embedding(values=[len(text)]))
        for text in message.request.texts
    ]
    response = embedding_pb2.EmbedResponse(model="scripted", results=results)
    return embedding_pb2.StreamEmbedResponse(id=message.id, response=response)


def shed(message: Any, seconds: float = 0.01) -> embedding_pb2.StreamEmbedResponse:
    delay = duration_pb2.Duration()
    delay.FromNanoseconds(int(seconds * 1e9))
    status = status_pb2.Status(
        code=code_pb2.RESOURCE_EXHAUSTED,
        message="the queue is full",
        details=[detail(error_details_pb2.RetryInfo(retry_delay=delay))],
    )
    return embedding_pb2.StreamEmbedResponse(id=message.id, error=status)


def detail(message: Any) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed
