"""How the Python clients end, and how one asyncio client serves several event loops."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from semserve import AsyncClient, Client, ClientClosed
from semserve.v1 import embedding_pb2


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
