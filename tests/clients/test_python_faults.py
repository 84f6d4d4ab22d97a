"""What the Python clients do when a server fails, sheds load, is late, or is not there."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from semserve import (
    AsyncClient,
    Client,
    DeadlineExceeded,
    InternalError,
    InvalidRequest,
    Overloaded,
    Retry,
    SemserveError,
    Unavailable,
)
from semserve.v1 import embedding_pb2_grpc

QUICK = Retry(attempts=3, initial_backoff=0.01)
ONCE = Retry(attempts=1)


class TestOneRequest:
    def test_is_sent_again_until_it_is_answered(self, ask, scripted):
        def embed(attempt, context):
            if attempt < 3:
                context.abort(grpc.StatusCode.UNAVAILABLE, "starting")

        scripted.embed = embed
        found = ask(scripted.address, {"retry": QUICK}, "embed", ["abc"])
        assert [[3, ord("a")]] == found.vectors.tolist()
        assert 3 == len(scripted.contexts)

    def test_is_sent_no_more_often_than_said(self, ask, scripted):
        scripted.embed = lambda _, context: context.abort(grpc.StatusCode.UNAVAILABLE, "starting")
        with pytest.raises(Unavailable, match="starting"):
            ask(scripted.address, {"retry": QUICK}, "embed", ["abc"])
        assert 3 == len(scripted.contexts)

    def test_is_not_sent_again_where_the_server_asks_for_none(self, ask, scripted):
        """A push-back below zero means: do not come back."""

        def embed(_, context):
            context.set_trailing_metadata([("grpc-retry-pushback-ms", "-1")])
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")

        scripted.embed = embed
        with pytest.raises(Overloaded, match="full"):
            ask(scripted.address, {"retry": QUICK}, "embed", ["abc"])
        assert 1 == len(scripted.contexts)

    def test_is_not_sent_again_where_it_would_fail_again(self, ask, scripted):
        scripted.embed = lambda _, context: context.abort(grpc.StatusCode.INTERNAL, "a fault")
        with pytest.raises(InternalError, match="a fault"):
            ask(scripted.address, {"retry": QUICK}, "embed", ["abc"])
        assert 1 == len(scripted.contexts)

    def test_tells_when_to_come_back(self, ask, scripted):
        def embed(_, context):
            context.set_trailing_metadata([("grpc-retry-pushback-ms", "1500")])
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")

        scripted.embed = embed
        with pytest.raises(Overloaded) as caught:
            ask(scripted.address, {"retry": ONCE}, "embed", ["abc"])
        assert 1.5 == caught.value.retry_after

    def test_keeps_a_status_that_has_no_class_of_its_own(self, ask, scripted):
        scripted.embed = lambda _, context: context.abort(grpc.StatusCode.ABORTED, "elsewhere")
        with pytest.raises(SemserveError, match="elsewhere") as caught:
            ask(scripted.address, {}, "embed", ["abc"])
        assert (SemserveError, "ABORTED") == (type(caught.value), caught.value.code)

    @pytest.mark.parametrize(
        ("options", "call", "most"),
        [({}, {}, 30), ({"timeout": 9}, {}, 9), ({}, {"timeout": 5}, 5)],
    )
    def test_has_a_deadline(self, ask, scripted, options, call, most):
        remaining = []
        scripted.embed = lambda _, context: remaining.append(context.time_remaining())
        ask(scripted.address, options, "embed", ["abc"], **call)
        assert most - 4 < remaining[0] < most + 1  # gRPC rounds it on the wire

    def test_has_none_where_the_caller_says_so(self, ask, scripted):
        remaining = []
        scripted.embed = lambda _, context: remaining.append(context.time_remaining())
        ask(scripted.address, {"timeout": None}, "embed", ["abc"])
        ask(scripted.address, {}, "embed", ["abc"], timeout=float("inf"))
        assert all(seconds is None or seconds > 1e6 for seconds in remaining)

    def test_fails_when_its_deadline_passes(self, ask, scripted):
        scripted.embed = lambda _attempt, _context: scripted.released.wait(60)
        with pytest.raises(DeadlineExceeded):
            ask(scripted.address, {}, "embed", ["abc"], timeout=0.2)

    def test_carries_the_callers_metadata(self, ask, scripted):
        ask(scripted.address, {"metadata": {"x-team": "blue"}}, "embed", ["abc"])
        assert ("x-team", "blue") in scripted.contexts[0].invocation_metadata()


class TestTheConnection:
    def test_nothing_answers(self, ask):
        with pytest.raises(Unavailable, match=r"(?i)connect"):
            ask(f"127.0.0.1:{free_port()}", {"retry": ONCE}, "embed", ["abc"])

    def test_waits_for_a_server_that_starts_later(self, scripted):
        address = f"127.0.0.1:{free_port()}"
        with ThreadPoolExecutor(4) as pool:
            late = Client(address, wait_for_ready=True, retry=ONCE)
            waiting = pool.submit(late.embed, ["abc"])
            with Client(address, retry=ONCE) as hasty, pytest.raises(Unavailable):
                hasty.embed(["abc"])
            server = grpc.server(pool)
            embedding_pb2_grpc.add_EmbeddingServiceServicer_to_server(scripted, server)
            assert server.add_insecure_port(address)
            server.start()
            assert [[3, ord("a")]] == waiting.result(30).vectors.tolist()
            late.close()
            server.stop(grace=None).wait()

    def test_credentials_are_used(self, ask, scripted):
        """A server that speaks no TLS cannot be reached with it."""
        options = {"credentials": grpc.ssl_channel_credentials(), "retry": ONCE}
        with pytest.raises(Unavailable):
            ask(scripted.address, options, "embed", ["abc"])
        assert [] == scripted.contexts

    def test_channel_options_win(self, ask, scripted):
        options = {"channel_options": [("grpc.max_send_message_length", 10)]}
        with pytest.raises(InvalidRequest, match=r"request is too large: .*larger than max"):
            ask(scripted.address, options, "embed", ["a text of more than ten bytes"])

    def test_nothing_is_connected_before_the_first_call(self):
        Client("127.0.0.1:1").close()
        asyncio.run(AsyncClient("127.0.0.1:1").close())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
