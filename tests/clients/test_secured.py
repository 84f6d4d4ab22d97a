"""Clients against a real server process with TLS, client certificates and keys."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from certificates import Authority
from conftest import ROOT, running_server
from semserve import PermissionDenied, Retry, Unauthenticated, Unavailable
from semserve_server.auth.api_key import new_key
from semserve_server.auth.key_file import add_key


@dataclass(frozen=True, slots=True)
class Secured:
    """A server that wants a client certificate and a key, and the files to reach it with."""

    address: str
    ca: Path
    certificate: Path
    key: Path
    keys: dict[str, str]

    def credentials(self) -> grpc.ChannelCredentials:
        files = (self.ca, self.key, self.certificate)
        return grpc.ssl_channel_credentials(*(path.read_bytes() for path in files))


@pytest.fixture(scope="module")
def secured(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    directory = tmp_path_factory.mktemp("secured")
    authority = Authority()
    chain, key = authority.sign("server").write(directory)
    (directory / "ca.pem").write_bytes(authority.pem)
    client = authority.sign("client")
    (directory / "client.crt").write_bytes(client.certificate)
    (directory / "client.key").write_bytes(client.key)
    keys = {}
    for name, models in (("all", None), ("nli", frozenset({"tiny-nli"}))):
        keys[name], made = new_key(name, models=models)
        add_key(directory / "keys", made)
    with running_server(
        *("--models", str(tiny_models), "--api-key-file", str(directory / "keys")),
        *("--tls-certificate", str(chain), "--tls-key", str(key)),
        *("--tls-client-ca", str(directory / "ca.pem")),
    ) as server:
        ca, certificate, key = (directory / name for name in ("ca.pem", "client.crt", "client.key"))
        yield Secured(server.address, ca, certificate, key, keys)


def test_both_clients_get_in_with_certificate_and_key(ask, secured):
    options = {"credentials": secured.credentials(), "key": secured.keys["all"]}
    assert 1 == len(ask(secured.address, options, "embed", ["the cat"]).vectors)
    answers = ask(secured.address, options, "stream_embed", [["the cat"], ["a dog"]])
    assert [None, None] == [answer.error for answer in answers]


def test_both_clients_tell_what_is_missing(ask, secured):
    options = {"credentials": secured.credentials()}
    with pytest.raises(Unauthenticated, match="authorization: Bearer KEY"):
        ask(secured.address, options, "embed", ["the cat"])
    with pytest.raises(Unauthenticated):
        ask(secured.address, options, "stream_embed", [["the cat"]])
    with pytest.raises(PermissionDenied, match="'nli'"):
        ask(
            secured.address, options | {"key": secured.keys["nli"]},
            "embed", ["the cat"], model="tiny-embed",
        )  # fmt: skip
    plain = {"key": secured.keys["all"], "retry": Retry(attempts=1)}
    with pytest.raises(Unavailable):
        ask(secured.address, plain, "embed", ["the cat"])


def test_the_documents_three_lines_make_a_server_with_a_key_and_tls(
    run, tiny_models, tmp_path, monkeypatch
):
    (lines,) = re.findall(
        r"^```sh\n(semserve-server key .*?)^```",
        (ROOT / "server" / "README.md").read_text(), re.DOTALL | re.MULTILINE,
    )  # fmt: skip
    make_key, serve, ask = (shlex.split(line) for line in lines.splitlines())
    monkeypatch.chdir(tmp_path)
    authority = Authority()
    authority.sign("server").write(tmp_path)
    Path("ca.crt").write_bytes(authority.pem)
    made = subprocess.run(
        [sys.executable, "-m", "semserve_server", *make_key[1:]],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    with running_server("--models", str(tiny_models), *serve[1:]) as server:
        monkeypatch.setenv("SEMSERVE_ADDRESS", server.address)
        assert 1 == run(*ask[1:]).code
        monkeypatch.setenv("SEMSERVE_KEY", made.stdout.strip())
        assert "tiny-embed" in run(*ask[1:]).out


def test_the_command_gets_in_with_files_and_a_variable(run, secured, monkeypatch):
    monkeypatch.setenv("SEMSERVE_ADDRESS", secured.address)
    monkeypatch.setenv("SEMSERVE_TLS_CA", str(secured.ca))
    own = ("--tls-certificate", str(secured.certificate), "--tls-key", str(secured.key))
    refused = run("models", *own)
    assert 1 == refused.code
    assert "set SEMSERVE_KEY" in refused.err
    monkeypatch.setenv("SEMSERVE_KEY", secured.keys["nli"])
    output = run(*own, "models", "--output", "json")
    assert (0, ["tiny-nli"]) == (output.code, [one["name"] for one in output.document])
    alone = run("models", *own[:2])
    assert (2, True) == (alone.code, "go together" in alone.err)
    missing = run("models", "--tls-ca", "missing.pem")
    assert (2, "semserve: missing.pem: No such file or directory\n") == (missing.code, missing.err)
