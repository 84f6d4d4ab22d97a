"""A model that is replaced goes by its last reference: nobody waits for the cyclic collector."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import weakref
from collections.abc import Awaitable, Callable, Iterator

import grpc
import pytest
from controlled import NAME, Controlled, describe
from refusals import refusal
from semserve.v1.embedding_pb2 import EmbedRequest, StreamEmbedRequest
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub
from semserve.v1.model_pb2 import TokenizeRequest
from semserve.v1.model_pb2_grpc import ModelServiceStub
from semserve_server.runtime import session
from semserve_server.runtime.session import Session
from sessions import shared_sessions

LONG = EmbedRequest(texts=["some words " * 2000] * 4, model=NAME)


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def sessions() -> weakref.WeakSet[Session]:
    """The sessions that there are, wherever they are kept, but for those that tests share."""
    found = {one for one in gc.get_objects() if isinstance(one, Session)}
    return weakref.WeakSet(found - shared_sessions())


async def nothing(_served: Controlled) -> None:
    """Ask nothing."""


async def good_calls(served: Controlled) -> None:
    await asyncio.gather(*(served.embed() for _ in range(20)))
    await EmbeddingServiceStub(served.channel).Embed(LONG)
    await ModelServiceStub(served.channel).Tokenize(TokenizeRequest(model=NAME, texts=["a cat"]))


async def refused_calls(served: Controlled) -> None:
    for text, model in (("", NAME), ("a\0", NAME), ("a cat", "tiny-nli")):
        await refusal(served.embed(text, model))


async def a_stream(served: Controlled) -> None:
    call = EmbeddingServiceStub(served.channel).StreamEmbed()
    for text in ("a cat", ""):
        request = EmbedRequest(texts=[text], model=NAME)
        await call.write(StreamEmbedRequest(id="a", request=request))
        await call.read()
    await call.done_writing()
    assert grpc.aio.EOF is await call.read()


async def late_calls(served: Controlled) -> None:
    for seconds in (0.0001, 0.001, 0.003):
        call = EmbeddingServiceStub(served.channel).Embed(LONG, timeout=seconds)
        await asyncio.wait([asyncio.ensure_future(call.code())])


async def calls_that_are_left(served: Controlled) -> None:
    for _ in range(5):
        call = EmbeddingServiceStub(served.channel).Embed(LONG)
        await served.info()  # the call has arrived
        call.cancel()


@contextlib.contextmanager
def unlogged() -> Iterator[None]:
    """Log nothing: pytest keeps records, and a record of an error keeps its frames."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


async def failing_runs(served: Controlled, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no such batch")

    stub = EmbeddingServiceStub(served.channel)
    with monkeypatch.context() as patched, unlogged():
        patched.setattr(session, "pad", fail)
        assert grpc.StatusCode.INTERNAL == (await refusal(served.embed())).code
        texts = ["one", "two", "three"]
        for partial in (False, True):
            request = EmbedRequest(texts=texts, model=NAME, allow_partial=partial)
            assert grpc.StatusCode.INTERNAL == (await refusal(stub.Embed(request))).code


async def refused_bundles(served: Controlled) -> None:
    whole = {one.stem: one.read_bytes() for one in served.bundle.iterdir()}
    describe(served.bundle, "cut", model=whole["model"][:5000])
    await refusal(served.load())
    golden = json.loads(whole["golden"])
    golden["cases"][0]["embedding"][0] += 0.5
    wrong = json.dumps(golden).encode()
    describe(served.bundle, "wrong", model=whole["model"], golden=wrong)
    await refusal(served.load())
    await served.control.refresh(again=True)
    assert "differs from Keras" in (await served.info()).reload_error
    describe(served.bundle, "whole", golden=whole["golden"])


WORK = [
    nothing, good_calls, refused_calls, a_stream, late_calls, calls_that_are_left, refused_bundles,
]  # fmt: skip


@pytest.mark.parametrize("work", WORK, ids=lambda work: work.__name__)
async def test_a_replaced_model_is_freed_at_once_whatever_it_was_asked(
    served: Controlled, work: Callable[[Controlled], Awaitable[None]]
) -> None:
    await work(served)
    await replaced_and_freed(served)


async def test_a_replaced_model_is_freed_at_once_where_runs_have_failed(
    served: Controlled, monkeypatch: pytest.MonkeyPatch
) -> None:
    await failing_runs(served, monkeypatch)
    await replaced_and_freed(served)


async def test_an_unloaded_model_is_freed_at_once(served: Controlled) -> None:
    await served.embed()
    before = sessions()
    await served.unload()
    await until_there_are(before, 1)


async def replaced_and_freed(served: Controlled) -> None:
    """Replace a model, and wait until the old one has gone; the test's timeout bounds it."""
    before = sessions()
    describe(served.bundle, "new")
    await served.load()
    await until_there_are(before, 1)


async def until_there_are(left: weakref.WeakSet[Session], number: int) -> None:
    """Let calls and workers come to their ends."""
    while len(left) > number:
        await asyncio.to_thread(int)
    assert number == len(left)
