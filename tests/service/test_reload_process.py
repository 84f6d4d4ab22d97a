"""The whole process: reloading at a signal or by itself, on a full disk, and while it drains."""

from __future__ import annotations

import asyncio
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from conftest import ServerProcess, running_server
from controlled import NAME, describe
from refusals import refusal
from semserve.v1.embedding_pb2 import EmbedRequest, EmbedResponse
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub
from semserve.v1.model_pb2 import GetModelRequest, LoadModelRequest, ModelInfo
from semserve.v1.model_pb2_grpc import ModelServiceStub

TEXTS = 150


@pytest.fixture
def process(directory: Path) -> Iterator[ServerProcess]:
    arguments = ("--reload-interval", "0.05", "--allow-model-control")
    with running_server("--models", str(directory), *arguments) as server:
        yield server


async def info(channel: grpc.aio.Channel) -> ModelInfo:
    return (await ModelServiceStub(channel).GetModel(GetModelRequest(model=NAME))).model


async def until(channel: grpc.aio.Channel, description: str) -> None:
    """Ask until the model is the one that is described so; the test's timeout bounds it."""
    while (await info(channel)).description != description:
        pass


async def answer(channel: grpc.aio.Channel) -> EmbedResponse:
    texts = [f"{number} cats" for number in range(TEXTS)]
    return await EmbeddingServiceStub(channel).Embed(EmbedRequest(model=NAME, texts=texts))


async def test_a_changed_bundle_is_loaded_by_itself(
    process: ServerProcess, directory: Path
) -> None:
    async with grpc.aio.insecure_channel(process.address) as channel:
        describe(directory / NAME, "by itself")
        await until(channel, "by itself")


async def test_a_changed_bundle_is_loaded_at_a_signal(directory: Path) -> None:
    with running_server("--models", str(directory)) as server:
        async with grpc.aio.insecure_channel(server.address) as channel:
            describe(directory / NAME, "at a signal")
            server.process.send_signal(signal.SIGHUP)
            await until(channel, "at a signal")


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux limits another process")
async def test_a_full_disk_leaves_the_old_one_serving_until_there_is_room(
    process: ServerProcess, directory: Path
) -> None:
    """No file of the process may grow past a thousand bytes, as if the disk were full."""
    pid = process.process.pid
    _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    async with grpc.aio.insecure_channel(process.address) as channel:
        before = await info(channel)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1000, most))
        describe(directory / NAME, "no room")
        refused = await refusal(ModelServiceStub(channel).LoadModel(LoadModelRequest(model=NAME)))
        assert grpc.StatusCode.FAILED_PRECONDITION == refused.code
        assert "cannot be loaded at present" in refused.message
        assert before.digest == (await info(channel)).digest
        assert TEXTS == len((await answer(channel)).results)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))
        await until(channel, "no room")
        assert "" == (await info(channel)).reload_error


async def test_sigterm_during_a_reload_answers_what_was_admitted(
    process: ServerProcess, directory: Path
) -> None:
    async with grpc.aio.insecure_channel(process.address) as channel:
        await answer(channel)
        calls = [asyncio.create_task(answer(channel)) for _ in range(20)]
        describe(directory / NAME, "during the end")
        loading = asyncio.create_task(
            _load(ModelServiceStub(channel), LoadModelRequest(model=NAME))
        )
        await info(channel)  # what was sent before it has arrived
        process.process.send_signal(signal.SIGTERM)
        answers = await asyncio.gather(*calls)
        await asyncio.wait([loading])
        assert 0 == await asyncio.to_thread(process.process.wait, 60)
    assert [TEXTS] * 20 == [len(one.results) for one in answers]


async def _load(stub: ModelServiceStub, request: LoadModelRequest) -> None:
    await stub.LoadModel(request)
