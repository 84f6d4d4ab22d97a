"""How the Python clients reach a server: addresses, proxies, keys, metadata, loops, and closing."""

from __future__ import annotations

import asyncio
import itertools
import socket
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from semserve import (
    CLIENT_TIMEOUT,
    AsyncClient,
    Client,
    ClientClosed,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    Retry,
    Timing,
    Unavailable,
)
from semserve.address import check_address, is_local, proxy_variable
from semserve.v1 import embedding_pb2

BOTH = [Client, AsyncClient]
PROXIES = ("grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy", "no_proxy")


class TestAddresses:
    @pytest.mark.parametrize(
        "address",
        [
            "localhost:50051", "my_server:1", "127.0.0.1:65535", "[::1]:50051", "[fe80::1%eth0]:1",
            "dns:host:1", "dns:///host:1", "dns://8.8.8.8/host:1", "ipv4:1.2.3.4:5,1.2.3.5:6",
            "ipv6:[::1]:1", "unix:relative.sock", "unix:///absolute.sock", "unix-abstract:name",
            "xds:///service", "a.b-c.example:443",
        ],
    )  # fmt: skip
    def test_that_grpc_resolves_are_taken(self, address):
        assert address == check_address(f" {address}\n")

    @pytest.mark.parametrize(
        ("address", "advice"),
        [
            ("http://host:1", "write host:1"),
            ("https://host:1/", "write host:1; TLS is asked for with credentials="),
            ("grpc://host:1", "write host:1"),
            ("tcp://host:1", "has a scheme"),
            ("localhost", "write localhost:50051"),
            ("dns:///localhost", "write localhost:50051"),
            ("[::1]", r"write \[::1\]:50051"),
            ("::1", r"write an IPv6 address as \[IPV6\]:PORT"),
            ("::1:50051", r"write an IPv6 address as \[IPV6\]:PORT"),
            ("fe80::1:2:50051", r"write an IPv6 address as \[IPV6\]:PORT"),
            ("[::1:50051", "lacks a ]"),
            ("host:", "write host:50051"),
            (":50051", "has no host"),
            ("host:http", "port 'http'"),
            ("host:0", "port '0'"),
            ("host:70000", "port '70000'"),
            ("host:-1", "port '-1'"),
            ("host:1/path", "port '1/path'"),
            ("my host:1", "a space"),
            ("host:1\nhost:2", "a control character"),
            ("host:1,other:2", "has several colons"),
            ("unix:", "has no path"),
            ("unix:" + "x" * 108, "107 bytes"),
            ("", "is empty"),
            ("  ", "is empty"),
        ],
    )
    @pytest.mark.parametrize("kind", BOTH)
    def test_that_it_does_not_are_refused_when_the_client_is_made(self, kind, address, advice):
        with pytest.raises(ValueError, match=f"^address .*{advice}"):
            kind(address)

    @pytest.mark.parametrize("address", [b"host:1", 50051, ("host", 1)])
    def test_are_strings(self, address):
        with pytest.raises(TypeError, match="address must be a string"):
            Client(address)

    def test_come_from_the_environment_together_with_the_key(self, ask, scripted, monkeypatch):
        monkeypatch.setenv("SEMSERVE_ADDRESS", scripted.address)
        monkeypatch.setenv("SEMSERVE_KEY", "alice.secret")
        ask(None, {}, "embed", ["abc"])
        ask(None, {"key": ""}, "embed", ["abc"])
        ask(scripted.address, {}, "embed", ["abc"])  # a key is not sent to just any server
        sent = [dict(one.invocation_metadata()).get("authorization") for one in scripted.contexts]
        assert ["Bearer alice.secret", None, None] == sent

    def test_default_where_the_environment_has_none(self, monkeypatch):
        monkeypatch.setenv("SEMSERVE_ADDRESS", "")
        assert "127.0.0.1:50051" == Client().address


class TestProxies:
    """gRPC sends everything through the proxy of the environment, this machine's own too."""

    @pytest.fixture(autouse=True)
    def proxies(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in PROXIES:
            monkeypatch.delenv(name, raising=False)

    @pytest.mark.parametrize("variable", ["grpc_proxy", "http_proxy", "https_proxy"])
    @pytest.mark.parametrize(
        "host", ["127.0.0.1", "localhost", "dns:///127.0.0.1", "ipv4:127.0.0.1"]
    )
    def test_are_not_used_for_this_machine(self, ask, scripted, monkeypatch, variable, host):
        monkeypatch.setenv(variable, f"http://127.0.0.1:{free_port()}")
        address = f"{host}:{scripted.address.rpartition(':')[2]}"
        assert [[3, ord("a")]] == ask(address, {}, "embed", ["abc"]).vectors.tolist()

    def test_are_named_where_they_are_in_the_way(self, ask, monkeypatch):
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{free_port()}")
        options = {"retry": Retry(attempts=1), "timeout": 20}
        with pytest.raises(Unavailable, match=r"https_proxy is set, .* no_proxy"):
            ask("192.0.2.1:50051", options, "embed", ["abc"])

    @pytest.mark.parametrize(
        ("address", "local"),
        [
            ("127.0.0.1:1", True), ("127.9.9.9:1", True), ("localhost:1", True), ("[::1]:1", True),
            ("LOCALHOST:1", True), ("localhost.:1", True), ("web.localhost:1", True),
            ("[::]:1", True), ("[::ffff:127.0.0.1]:1", True), ("unix:/run/x.sock", True),
            ("unix-abstract:x", True), ("dns:localhost:1", True), ("ipv6:[::1]:1", True),
            ("10.0.0.1:1", False), ("host:1", False), ("localhost.example:1", False),
            ("ipv4:127.0.0.1:1,10.0.0.1:1", False), ("xds:///localhost", False),
            ("[fe80::1]:1", False), ("0.0.0.0:1", True),
        ],
    )  # fmt: skip
    def test_know_this_machine_by_its_names(self, address, local):
        assert local == is_local(address)

    @pytest.mark.parametrize(
        ("environment", "named"),
        [
            ({}, None),
            ({"http_proxy": "p"}, "http_proxy"),
            ({"http_proxy": "p", "grpc_proxy": "q"}, "grpc_proxy"),
            ({"https_proxy": ""}, None),
            ({"https_proxy": "p", "no_proxy": "other, example.org"}, None),
            ({"https_proxy": "p", "no_proxy": "other"}, "https_proxy"),
            ({"https_proxy": "p", "no_grpc_proxy": "other", "no_proxy": "example.org"},
             "https_proxy"),
        ],
    )  # fmt: skip
    def test_are_those_of_grpc(self, environment, named):
        assert named == proxy_variable("api.example.org:1", environment)


class TestKeysAndMetadata:
    @pytest.mark.parametrize("key", ["alice.secret\n", " alice.secret", "alice.secret\r\n"])
    def test_a_key_loses_the_white_space_of_its_file(self, ask, scripted, key):
        ask(scripted.address, {"key": key}, "embed", ["abc"])
        sent = dict(scripted.contexts[0].invocation_metadata())
        assert "Bearer alice.secret" == sent["authorization"]

    @pytest.mark.parametrize(
        "key", ["alice secret", "a\nb", "schlüssel", "Bearer a.b", "\t", "a\0"]
    )
    @pytest.mark.parametrize("kind", BOTH)
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
    @pytest.mark.parametrize("kind", BOTH)
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
            ask(f"127.0.0.1:{free_port()}", {"retry": Retry(attempts=1)}, "embed", ["a"])
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


class TestClosing:
    @pytest.mark.parametrize("method", ["embed", "tokenize", "stream_embed"])
    def test_a_closed_client_says_so(self, scripted, method):
        client = Client(scripted.address)
        client.embed(["abc"])
        client.close()
        client.close()
        with pytest.raises(ClientClosed, match="the client is closed: make another"):
            next(iter(getattr(client, method)(["abc"])))

    async def test_a_closed_client_says_so_asyncio(self, scripted):
        client = AsyncClient(scripted.address)
        await client.embed(["abc"])
        await client.close()
        await client.close()
        with pytest.raises(ClientClosed):
            await client.embed(["abc"])
        with pytest.raises(ClientClosed):
            await anext(client.stream_embed([["abc"]]))

    def test_calls_in_flight_say_so(self, scripted):
        arrived = threading.Event()

        def embed(_attempt, _context):
            arrived.set()
            scripted.released.wait(60)

        scripted.embed = embed
        client = Client(scripted.address)
        closer = threading.Thread(target=lambda: (arrived.wait(30), client.close()))
        closer.start()
        with pytest.raises(ClientClosed):
            client.embed(["abc"])
        closer.join()

    async def test_calls_in_flight_say_so_asyncio(self, scripted):
        """And are not taken for a task that somebody cancelled."""
        arrived = threading.Event()

        def embed(_attempt, _context):
            arrived.set()
            scripted.released.wait(60)

        scripted.embed = embed
        client = AsyncClient(scripted.address)
        waiting = asyncio.create_task(client.embed(["abc"]))
        await asyncio.to_thread(arrived.wait, 30)
        await client.close()
        with pytest.raises(ClientClosed):
            await waiting

    def test_a_wait_before_the_next_attempt_ends(self, scripted):
        client = Client(scripted.address, timeout=None)

        def embed(_, context):
            context.add_callback(client.close)
            context.set_trailing_metadata([("grpc-retry-pushback-ms", "60000")])
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")

        scripted.embed = embed
        with pytest.raises(ClientClosed):
            client.embed(["abc"])


class TestEventLoops:
    def test_one_client_serves_one_loop_after_the_other(self, scripted):
        client = AsyncClient(scripted.address)
        for text in ("a", "bb", "ccc"):
            assert [[len(text), ord(text[0])]] == asyncio.run(client.embed([text])).vectors.tolist()
        asyncio.run(client.close())

    async def test_a_source_that_waits_does_not_block_the_loop(self, scripted):
        """The source waits for something that only the loop can do."""
        scripted.stream = lambda requests, _: map(answered, requests)
        turned = threading.Event()

        def source() -> Iterator[list[str]]:
            assert turned.wait(30)
            yield ["a"]

        async with AsyncClient(scripted.address) as client:
            stream = client.stream_embed(source())
            first = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)
            turned.set()
            assert 0 == (await first).index
            await stream.aclose()

    async def test_a_source_that_never_ends_waiting_does_not_hold_the_program(self, scripted):
        scripted.stream = lambda requests, _: map(answered, requests)
        forever = threading.Event()

        def source() -> Iterator[list[str]]:
            yield ["a"]
            forever.wait()

        async with AsyncClient(scripted.address) as client:
            stream = client.stream_embed(source())
            assert 0 == (await anext(stream)).index
            await stream.aclose()
        forever.set()

    async def test_what_a_source_raises_is_raised(self, scripted):
        scripted.stream = lambda requests, _: map(answered, requests)
        async with AsyncClient(scripted.address) as client:
            stream = client.stream_embed(itertools.chain([["a"]], map(int, "x")))
            assert 0 == (await anext(stream)).index
            with pytest.raises(ValueError, match="invalid literal"):
                await anext(stream)


def answered(message: Any) -> embedding_pb2.StreamEmbedResponse:
    response = embedding_pb2.EmbedResponse(model="scripted")
    return embedding_pb2.StreamEmbedResponse(id=message.id, response=response)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
