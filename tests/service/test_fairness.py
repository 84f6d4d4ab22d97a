"""One caller's large request holds up nobody else's single texts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest
from conftest import InProcess, in_process
from refusals import refusal
from semserve.v1.embedding_pb2 import EmbedRequest, EmbedResponse
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub
from semserve_server.auth.api_key import new_key
from semserve_server.auth.key_file import add_key
from semserve_server.auth.key_store import KeyStore
from semserve_server.frontend.security import Security

LONG = "a cat " * 16
MANY = EmbedRequest(texts=[LONG] * 200)
ONE = EmbedRequest(texts=[LONG + "hello dog"])

Metadata = Sequence[tuple[str, str]]


async def place_of_one_text(
    server: InProcess, heavy: EmbeddingServiceStub, light: EmbeddingServiceStub,
    heavy_key: Metadata = (), light_key: Metadata = (),
) -> int:  # fmt: skip
    """Return in which batch a text runs that comes once many others wait; the first is 0."""
    server.embedder.hold()
    running = asyncio.ensure_future(heavy.Embed(EmbedRequest(texts=["first"]), metadata=heavy_key))
    await asyncio.to_thread(server.embedder.wait_for_run)
    many = asyncio.ensure_future(heavy.Embed(MANY, metadata=heavy_key))
    await waits(server, 200)
    one = asyncio.ensure_future(light.Embed(ONE, metadata=light_key))
    await waits(server, 201)
    server.embedder.release()
    answered: EmbedResponse = await one
    assert 200 == len((await many).results)
    await running
    length = answered.usage.token_count
    return next(
        place
        for place, batch in enumerate(server.embedder.batches[1:])
        if length in map(len, batch)
    )


async def waits(server: InProcess, entries: int) -> None:
    """Let the event loop turn until so many entries wait; the test's own timeout bounds it."""
    stub = EmbeddingServiceStub(server.channel)
    while server.engines[0].waiting.entries != entries:
        await refusal(stub.Embed(EmbedRequest()))


async def test_a_text_of_another_connection_runs_within_two_batches(service: InProcess) -> None:
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(service.address, options) as channel:
        heavy, light = EmbeddingServiceStub(service.channel), EmbeddingServiceStub(channel)
        assert 1 >= await place_of_one_text(service, heavy, light)


async def test_without_keys_a_connection_is_one_caller(service: InProcess) -> None:
    """As behind a proxy, which has one connection for all of its callers."""
    stub = EmbeddingServiceStub(service.channel)
    assert 5 < await place_of_one_text(service, stub, stub)


@pytest.mark.parametrize("same", [True, False])
async def test_with_keys_a_key_is_a_caller_whatever_its_connections(
    tiny_models: Path, tmp_path: Path, *, same: bool
) -> None:
    keys = {}
    for name in ("heavy", "light"):
        presented, key = new_key(name)
        add_key(tmp_path / "keys", key)
        keys[name] = (("authorization", f"Bearer {presented}"),)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            in_process(tiny_models, security=Security(key_store=KeyStore(tmp_path / "keys")))
        )
        options = [("grpc.use_local_subchannel_pool", 1)]
        channel = grpc.aio.insecure_channel(server.address, options)
        await stack.enter_async_context(channel)
        heavy, light = EmbeddingServiceStub(server.channel), EmbeddingServiceStub(channel)
        light_key = keys["heavy" if same else "light"]
        if not same:
            light = heavy
        place = await place_of_one_text(server, heavy, light, keys["heavy"], light_key)
        assert (place > 5) is same
