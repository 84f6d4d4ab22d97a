"""Which addresses the Python clients take, and which proxies they use for them."""

from __future__ import annotations

import socket

import pytest
from semserve import AsyncClient, Client, Retry, Unavailable
from semserve.connection.address import check_address, is_local, proxy_variable

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
    @pytest.mark.parametrize("kind", [Client, AsyncClient])
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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
