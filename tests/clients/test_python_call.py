"""What the Python clients send with a call, and what its result or its error tells about it."""

from __future__ import annotations

import grpc
import pytest
from semserve import (
    CLIENT_TIMEOUT,
    AsyncClient,
    Client,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    Retry,
    Timing,
    Unavailable,
)


class TestKeysAndMetadata:
    @pytest.mark.parametrize("key", ["alice.secret\n", " alice.secret", "alice.secret\r\n"])
    def test_a_key_loses_the_white_space_of_its_file(self, ask, scripted, key):
        ask(scripted.address, {"key": key}, "embed", ["abc"])
        sent = dict(scripted.contexts[0].invocation_metadata())
        assert "Bearer alice.secret" == sent["authorization"]

    @pytest.mark.parametrize(
        "key", ["alice secret", "a\nb", "schlüssel", "Bearer a.b", "\t", "a\0"]
    )
    @pytest.mark.parametrize("kind", [Client, AsyncClient])
    def test_a_key_that_cannot_be_sent_is_refused(self, kind, key):
        with pytest.raises(ValueError, match=r"^key "):
            kind("localhost:1", key=key)

    def test_a_key_is_a_string(self):
        with pytest.raises(TypeError, match="key must be a string, not bytes"):
            Client("localhost:1", key=b"alice.secret")

    @pytest.mark.parametrize(
        ("metadata", "said"),
        [
            ({"X-Source": "a"}, "'X-Source'.*write 'x-source'"),
            ({"x source": "a"}, "'x source'"),
            ({"ü": "a"}, "'ü'"),
            ({"": "a"}, "''"),
            ({":path": "a"}, "':path'"),
            ({"grpc-timeout": "1S"}, "'grpc-timeout'.*gRPC's own"),
            ({"x-source": "ü"}, "'x-source'.*-bin"),
            ({"x-source": "a\n"}, "'x-source'"),
            ({"x-source": b"a"}, "'x-source'.*-bin"),
            ({"x-source-bin": "a"}, "'x-source-bin' must be bytes"),
        ],
    )
    @pytest.mark.parametrize("kind", [Client, AsyncClient])
    def test_metadata_that_cannot_be_sent_is_refused(self, kind, metadata, said):
        with pytest.raises(ValueError, match=f"^metadata .*{said}"):
            kind("localhost:1", metadata=metadata)

    @pytest.mark.parametrize("metadata", [{"x": 1}, {1: "x"}, {"x": None}, [("x", "y")], "x"])
    def test_metadata_is_a_mapping_of_strings(self, metadata):
        with pytest.raises(TypeError, match="metadata"):
            Client("localhost:1", metadata=metadata)

    def test_a_key_is_given_once(self):
        with pytest.raises(ValueError, match="authorization, which key= makes"):
            Client("localhost:1", key="a.b", metadata={"authorization": "Bearer c.d"})

    def test_a_call_may_send_its_own(self, ask, scripted):
        options = {"metadata": {"x-team": "blue", "x-all-bin": b"\0\xff"}}
        ask(scripted.address, options, "embed", ["abc"], metadata={"x-team": "red", "x-one": "1"})
        sent = scripted.contexts[0].invocation_metadata()
        assert ["red"] == [value for name, value in sent if name == "x-team"]
        assert {("x-one", "1"), ("x-all-bin", b"\0\xff")} <= {*map(tuple, sent)}
        with pytest.raises(ValueError, match="X-Team"):
            ask(scripted.address, {}, "embed", ["abc"], metadata={"X-Team": "red"})


class TestWhatACallTells:
    @pytest.mark.parametrize(
        ("method", "arguments"),
        [
            ("embed", (["a"],)),
            ("classify", ([("a", "b")],)),
            ("compare", ([("a", "b")] * 9,)),
            ("rank", ("a", ["b"] * 9)),
            ("search", (["a"], ["b"] * 9)),
            ("matrix", (["a"],)),
        ],
    )
    def test_a_result_names_its_request_and_the_servers_times(
        self, ask, server_address, method, arguments
    ):
        """Of many requests, one name and the sum of the times."""
        found = ask(server_address, {"chunk": 4}, method, *arguments)
        assert 16 == len(found.request_id)
        assert isinstance(found.timing, Timing)
        assert 0 < found.timing.compute < 30
        assert found.timing.queue >= 0
        assert found.timing.tokenize > 0

    def test_times_add_up(self):
        assert Timing(5, 7, 9) == Timing(1, 2, 3) + Timing(4, 5, 6)

    def test_the_caller_may_name_the_request(self, ask, server_address):
        named = {"metadata": {"x-request-id": "order-17"}}
        assert "order-17" == ask(server_address, {}, "embed", ["a"], **named).request_id
        many = ask(server_address, {"chunk": 2}, "embed", ["a"] * 9, **named)
        assert ("order-17", None) == (many.request_id, many.timing)
        answers = ask(server_address, {}, "stream_embed", [["a"], [""]], **named)
        (good,) = (answer.result for answer in answers if answer.error is None)
        (bad,) = (answer.error for answer in answers if answer.error is not None)
        assert ("order-17", "order-17") == (good.request_id, bad.request_id)

    def test_an_error_names_its_request(self, ask, server_address):
        for options, arguments in (({}, ["a"]), ({"chunk": 1}, ["a", "b"])):
            with pytest.raises(ModelNotFound) as caught:
                ask(server_address, options, "embed", arguments, model="nobody")
            assert 16 == len(caught.value.request_id)
        with pytest.raises(Unavailable) as caught:
            ask("127.0.0.1:1", {"retry": Retry(attempts=1)}, "embed", ["a"])
        assert 16 == len(caught.value.request_id)


class TestTimeouts:
    def test_none_is_no_deadline_and_the_client_has_a_word_for_its_own(self, ask, scripted):
        remaining = []
        scripted.embed = lambda _, context: remaining.append(context.time_remaining())
        ask(scripted.address, {"timeout": 9}, "embed", ["abc"], timeout=None)
        ask(scripted.address, {"timeout": 9}, "embed", ["abc"], timeout=CLIENT_TIMEOUT)
        assert remaining[0] is None or remaining[0] > 1e6
        assert 5 < remaining[1] < 10

    @pytest.mark.parametrize("timeout", [0, -1, float("nan")])
    def test_are_positive(self, ask, timeout):
        with pytest.raises(ValueError, match=r"timeout is .*, not positive"):
            ask("localhost:1", {}, "embed", ["abc"], timeout=timeout)

    def test_are_numbers(self):
        with pytest.raises(TypeError, match="timeout must be a number, not str"):
            Client("localhost:1", timeout="30")


class TestOverload:
    def test_what_was_shed_is_sent_again_whatever_its_size(self, ask, scripted):
        """GRPC's own retries give up above 256 KiB."""

        def embed(attempt, context):
            if attempt < 3:
                context.set_trailing_metadata([("grpc-retry-pushback-ms", "1")])
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")

        scripted.embed = embed
        found = ask(scripted.address, {}, "embed", ["x" * 300_000])
        assert [[300_000, ord("x")]] == found.vectors.tolist()
        assert 3 == len(scripted.contexts)

    def test_a_wait_past_the_deadline_is_not_waited_for(self, ask, scripted):
        def embed(_, context):
            context.set_trailing_metadata([("grpc-retry-pushback-ms", "60000")])
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")

        scripted.embed = embed
        with pytest.raises(Overloaded) as caught:
            ask(scripted.address, {"timeout": 20}, "embed", ["abc"])
        assert (60, 1) == (caught.value.retry_after, len(scripted.contexts))

    def test_a_message_over_a_limit_is_sent_once(self, ask, scripted):
        def embed(_, context):
            context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "grpc: received message larger than max (9 vs. 4)",
            )

        scripted.embed = embed
        with pytest.raises(InvalidRequest, match="the request is too large"):
            ask(scripted.address, {}, "embed", ["abc"])
        assert 1 == len(scripted.contexts)
