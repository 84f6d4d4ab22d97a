"""TLS: who is let in, and certificates that are replaced while the server runs."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from certificates import Authority, Pair
from conftest import InProcess, in_process, start_server
from cryptography.hazmat.primitives import serialization
from refusals import refusal
from semserve.v1.embedding_pb2 import EmbedRequest
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub
from semserve_server.errors import ConfigError
from semserve_server.frontend.certificates import Certificates
from semserve_server.frontend.security import Security

EMBED = EmbedRequest(texts=["a cat"])


@asynccontextmanager
async def serving(
    models: Path, directory: Path, pair: Pair, client_ca: bytes | None = None
) -> AsyncIterator[InProcess]:
    """Serve with a certificate, and for clients of an authority alone if one is given."""
    chain, key = pair.write(directory)
    ca = None
    if client_ca is not None:
        ca = directory / "clients.crt"
        ca.write_bytes(client_ca)
    async with in_process(
        models, security=Security(certificates=Certificates(chain, key, ca))
    ) as server:
        yield server


@asynccontextmanager
async def connecting(
    server: InProcess, root: bytes, client: Pair | None = None
) -> AsyncIterator[EmbeddingServiceStub]:
    """Connect anew, as no channel of before does it."""
    credentials = grpc.ssl_channel_credentials(
        root, client.key if client else None, client.certificate if client else None
    )
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    async with grpc.aio.secure_channel(server.address, credentials, options) as channel:
        yield EmbeddingServiceStub(channel)


async def answers(server: InProcess, root: bytes, client: Pair | None = None) -> None:
    async with connecting(server, root, client) as stub:
        assert 1 == len((await stub.Embed(EMBED)).results)


async def refuses(server: InProcess, root: bytes, client: Pair | None = None) -> None:
    """A connection that is not made is UNAVAILABLE, whoever did not want it."""
    async with connecting(server, root, client) as stub:
        refused = await refusal(stub.Embed(EMBED, timeout=20))
        assert grpc.StatusCode.UNAVAILABLE == refused.code


async def test_calls_are_encrypted_and_plain_ones_refused(
    tiny_models: Path, tmp_path: Path
) -> None:
    authority = Authority()
    async with serving(tiny_models, tmp_path, authority.sign("server")) as server:
        await answers(server, authority.pem)
        await refuses(server, Authority().pem)
        # The fixture's own channel speaks plain text.
        plain = await refusal(EmbeddingServiceStub(server.channel).Embed(EMBED, timeout=20))
        assert grpc.StatusCode.UNAVAILABLE == plain.code


async def test_only_clients_with_a_good_certificate_may_connect(
    tiny_models: Path, tmp_path: Path
) -> None:
    authority, clients = Authority(), Authority("for clients")
    pair = authority.sign("server")
    async with serving(tiny_models, tmp_path, pair, clients.pem) as server:
        good = clients.sign("good")
        await answers(server, authority.pem, good)
        await refuses(server, authority.pem)
        await refuses(server, authority.pem, clients.sign("expired", expired=True))
        await refuses(server, authority.pem, Authority("for clients").sign("a stranger"))
        await answers(server, authority.pem, good)


async def test_an_expired_certificate_is_replaced_while_the_server_runs(
    tiny_models: Path, tmp_path: Path
) -> None:
    authority = Authority()
    expired, good = authority.sign("server", expired=True), authority.sign("server")
    async with serving(tiny_models, tmp_path, expired) as server:
        await refuses(server, authority.pem)
        good.write(tmp_path)
        async with connecting(server, authority.pem) as kept:
            assert await kept.Embed(EMBED)
            expired.write(tmp_path)
            await refuses(server, authority.pem)
            assert await kept.Embed(EMBED)


async def test_an_authority_of_clients_is_replaced_while_the_server_runs(
    tiny_models: Path, tmp_path: Path
) -> None:
    authority, former, latter = Authority(), Authority("former"), Authority("latter")
    pair, client = authority.sign("server"), latter.sign("client")
    async with serving(tiny_models, tmp_path, pair, former.pem) as server:
        await refuses(server, authority.pem, client)
        (tmp_path / "clients.crt").write_bytes(former.pem + latter.pem)
        await answers(server, authority.pem, client)
        await answers(server, authority.pem, former.sign("client"))


async def test_a_wrong_or_half_written_certificate_keeps_the_old_one_and_says_why(
    tiny_models: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    authority = Authority()
    old, new = authority.sign("server"), authority.sign("server")
    async with serving(tiny_models, tmp_path, old) as server:
        chain, key = tmp_path / "server.crt", tmp_path / "server.key"
        for content in (new.certificate, new.certificate[:200], b"", b"no PEM"):
            chain.write_bytes(content)
            await answers(server, authority.pem)
        chain.unlink()
        await answers(server, authority.pem)
        reasons = [one for one in caplog.messages if "the present certificate stays" in one]
        assert 3 == len(reasons), reasons  # each once: another's, no PEM, none
        assert "server.crt: No such file" in reasons[-1]
        chain.write_bytes(new.certificate)
        key.write_bytes(new.key)
        await answers(server, authority.pem)
        assert "reloaded" in caplog.text
        assert not [line for line in new.key.decode().splitlines()[1:-1] if line in caplog.text]


@pytest.mark.parametrize("given", [["--tls-certificate"], ["--tls-key"], ["--tls-client-ca"]])
def test_a_certificate_and_its_key_go_together(tiny_models: Path, given: list[str]) -> None:
    process = start_server("--models", str(tiny_models), *given, "a.pem")
    _, output = process.communicate(timeout=60)
    assert (2, "TLS needs both --tls-certificate and --tls-key") == (
        process.returncode, output.strip().removeprefix("semserve-server: "),
    )  # fmt: skip


@pytest.mark.parametrize("what", ["missing", "not PEM", "another's key", "encrypted"])
def test_a_certificate_that_cannot_be_used_ends_the_start(tmp_path: Path, what: str) -> None:
    authority = Authority()
    chain, key = authority.sign("server").write(tmp_path)
    if what == "missing":
        chain.unlink()
    elif what == "not PEM":
        chain.write_text("not PEM")
    elif what == "another's key":
        key.write_bytes(authority.sign("another").key)
    else:
        loaded = serialization.load_pem_private_key(key.read_bytes(), None)
        key.write_bytes(
            loaded.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(b"word"),
            )
        )
    with pytest.raises(ConfigError, match="--tls-certificate"):
        Certificates(chain, key, None)
