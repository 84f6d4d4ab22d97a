"""Fixtures: both Python clients behind one function, the command, and a server to be scripted."""

from __future__ import annotations

import asyncio
import io
import json
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
from semserve import AsyncClient, Client
from semserve.cli import main
from semserve.v1 import embedding_pb2, embedding_pb2_grpc

Run = Callable[..., "Said"]
Ask = Callable[..., Any]


@pytest.fixture(params=["blocking", "asyncio"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Call a method of either client: `ask(address, {client options}, "method", arguments…)`.

    A stream is drained into a list.
    """
    return _ask_blocking if request.param == "blocking" else _ask_asyncio


def _ask_blocking(address: str, options: dict[str, Any], method: str, *args: Any, **kw: Any) -> Any:
    with Client(address, **options) as client:
        result = getattr(client, method)(*args, **kw)
        return list(result) if isinstance(result, Generator) else result


def _ask_asyncio(address: str, options: dict[str, Any], method: str, *args: Any, **kw: Any) -> Any:
    async def call() -> Any:
        async with AsyncClient(address, **options) as client:
            result = getattr(client, method)(*args, **kw)
            if isinstance(result, AsyncGenerator):
                return [answer async for answer in result]
            return await result

    return asyncio.run(call())


@dataclass
class Scripted(embedding_pb2_grpc.EmbeddingServiceServicer):
    """A server whose behaviour a test writes; by default it answers.

    A text's vector is its length and its first character, so that a mix-up shows.
    """

    address: str = ""
    embed: Callable[[int, grpc.ServicerContext], None] = lambda _attempt, _context: None
    stream: Callable[[Iterator[Any], grpc.ServicerContext], Iterator[Any]] | None = None
    contexts: list[grpc.ServicerContext] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    def Embed(self, request: Any, context: Any) -> embedding_pb2.EmbedResponse:  # noqa: N802
        self.contexts.append(context)
        self.embed(len(self.contexts), context)
        return answer(request)

    def StreamEmbed(self, request_iterator: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        self.contexts.append(context)
        context.add_callback(self.ended.set)
        assert self.stream is not None
        return self.stream(request_iterator, context)


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    """A real gRPC server over the loopback that does what a test says."""
    servicer = Scripted()
    with ThreadPoolExecutor(8) as pool:
        server = grpc.server(pool)
        embedding_pb2_grpc.add_EmbeddingServiceServicer_to_server(servicer, server)
        servicer.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        try:
            yield servicer
        finally:
            servicer.released.set()
            server.stop(grace=None).wait()


def answer(request: embedding_pb2.EmbedRequest) -> embedding_pb2.EmbedResponse:
    """Answer with a vector that tells its text."""
    results = [
        embedding_pb2.EmbedResult(
            embedding=embedding_pb2.Embedding(values=[len(text), ord(text[0])]),
            token_count=len(text),
        )
        for text in request.texts
    ]
    return embedding_pb2.EmbedResponse(model="scripted", results=results)


class Said(NamedTuple):
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        (line,) = self.out.splitlines()
        return json.loads(line)


@pytest.fixture
def run(command: Run, server_address: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command against the server over the tiny bundles."""
    monkeypatch.setenv("SEMSERVE_ADDRESS", server_address)
    return command


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Run:
    """Run the command as a shell would, with nothing or something piped in."""
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(*arguments: str, stdin: bytes = b"") -> Said:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        printed = capsys.readouterr()
        assert isinstance(stopped.value.code, int)
        return Said(stopped.value.code, printed.out, printed.err)

    return run
