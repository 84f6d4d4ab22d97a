"""A server that is told to stop ends in time, whatever its callers and its threads do."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import grpc
import pytest
from conftest import InProcess, ServerProcess, running_server, start_server, wait_for_line
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub
from refusals import refusal
from semserve.v1.embedding_pb2 import EmbedRequest
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub
from semserve.v1.model_pb2 import LoadModelRequest
from semserve.v1.model_pb2_grpc import ModelServiceStub
from semserve_server.config import Config

NOT_SERVING = HealthCheckResponse.NOT_SERVING
LONG_DRAIN = ("--echo", "8", "--drain-timeout", "600", "--drain-delay", "0.2")
KUBERNETES_PATIENCE = 30
"""Seconds between SIGTERM and SIGKILL where a pod does not say otherwise."""
SLOW_LOADS = """
import sys, threading
from semserve_server import __main__
from semserve_server.registry import model_manager as control
load, begun = control.load, []
def hang(config, directory, calibrations):
    begun.append(directory)
    if len(begun) > {loads}:
        print("the load hangs", file=sys.stderr, flush=True)
        threading.Event().wait()
    return load(config, directory, calibrations)
control.load = hang
__main__.main()
"""


def hangs_after(loads: int) -> tuple[str, str]:
    """A server whose loads hang after so many."""
    return "-c", SLOW_LOADS.format(loads=loads)


@pytest.fixture
def server() -> Iterator[ServerProcess]:
    with running_server(*LONG_DRAIN) as running:
        yield running


async def reflect(channel: grpc.aio.Channel) -> None:
    call = ServerReflectionStub(channel).ServerReflectionInfo()
    await call.write(ServerReflectionRequest(list_services=""))
    async for _ in call:
        pass


async def embed_on_a_stream(channel: grpc.aio.Channel) -> None:
    async for _ in EmbeddingServiceStub(channel).StreamEmbed():
        pass


async def send_nothing(channel: grpc.aio.Channel) -> None:
    """Begin a unary call, and never send its request."""
    await channel.stream_unary("/semserve.v1.EmbeddingService/Embed")(nothing())


async def nothing() -> AsyncIterator[bytes]:
    await asyncio.Event().wait()
    yield b""


@pytest.mark.parametrize(
    "call", [reflect, embed_on_a_stream, send_nothing],
    ids=lambda call: call.__name__,
)  # fmt: skip
async def test_callers_that_come_back_do_not_hold_up_the_end(
    server: ServerProcess, call: Callable[[grpc.aio.Channel], Awaitable[None]]
) -> None:
    """The drain may take ten minutes, and the test two."""
    ended = asyncio.Event()

    async def call_again_and_again(channel: grpc.aio.Channel) -> None:
        while not ended.is_set():
            with contextlib.suppress(grpc.aio.AioRpcError):
                await call(channel)

    async with grpc.aio.insecure_channel(server.address) as channel:
        callers = [asyncio.create_task(call_again_and_again(channel)) for _ in range(3)]
        await EmbeddingServiceStub(channel).Embed(EmbedRequest(texts=["a"]))
        server.process.send_signal(signal.SIGTERM)
        assert 0 == await asyncio.to_thread(server.process.wait, 60)
        ended.set()
        for caller in callers:
            caller.cancel()
        await asyncio.wait(callers)


async def test_a_watch_that_opens_during_the_drain_gets_not_serving_and_an_end(
    service: InProcess,
) -> None:
    stub = EmbeddingServiceStub(service.channel)
    service.embedder.hold()
    admitted = asyncio.ensure_future(stub.Embed(EmbedRequest(texts=["a cat"])))
    await asyncio.to_thread(service.embedder.wait_for_run)
    service.port.set_not_serving()
    draining = asyncio.create_task(service.port.drain(30))
    await asyncio.sleep(0)  # the drain begins
    call = HealthStub(service.channel).Watch(HealthCheckRequest(service="tiny-embed"))
    assert NOT_SERVING == (await call.read()).status
    error = await refusal(call.read())
    assert (grpc.StatusCode.UNAVAILABLE, "the server is stopping") == (error.code, error.message)
    reflection = ServerReflectionStub(service.channel).ServerReflectionInfo()
    error = await refusal(reflection.read())
    assert (grpc.StatusCode.UNAVAILABLE, "the server is stopping") == (error.code, error.message)
    service.embedder.release()
    assert 1 == len((await admitted).results)
    await draining


def test_the_defaults_leave_time_before_kubernetes_kills() -> None:
    config = Config()
    assert config.drain_delay + config.drain_timeout + 5 < KUBERNETES_PATIENCE


async def test_a_load_that_hangs_does_not_hold_up_the_end(tiny_models: Path) -> None:
    """Neither the drain, nor Python, which joins the threads of `concurrent.futures`."""
    arguments = ("--models", str(tiny_models), "--allow-model-control", "--drain-timeout", "600")
    process = start_server(*arguments, command=hangs_after(2))
    try:
        address = wait_for_line(process).split("serving on ")[1].split(": ")[0]
        async with grpc.aio.insecure_channel(address) as channel:
            stub = ModelServiceStub(channel)
            await stub.UnloadModel(LoadModelRequest(model="tiny-nli"))
            loading = asyncio.ensure_future(stub.LoadModel(LoadModelRequest(model="tiny-nli")))
            assert process.stderr is not None
            while "the load hangs" not in await asyncio.to_thread(process.stderr.readline):
                pass
            process.send_signal(signal.SIGTERM)
            error = await refusal(loading)
            assert (grpc.StatusCode.UNAVAILABLE, "the server is stopping") == (
                error.code,
                error.message,
            )
        assert 0 == await asyncio.to_thread(process.wait, 60)
    finally:
        process.kill()
        process.communicate()


def test_sigterm_ends_a_start_whose_load_hangs(tiny_models: Path) -> None:
    process = start_server("--models", str(tiny_models), command=hangs_after(0))
    try:
        assert process.stderr is not None
        while "the load hangs" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGTERM)
        assert 0 == process.wait(60)
    finally:
        process.kill()
        process.communicate()


def test_a_start_whose_load_hangs_ends_with_one_line(tiny_models: Path) -> None:
    arguments = ("--models", str(tiny_models), "--load-timeout", "0.5")
    process = start_server(*arguments, command=hangs_after(0))
    output = process.communicate(timeout=60)[1].splitlines()
    assert 2 == process.returncode
    assert output[-1].startswith("semserve-server: ")
    assert "tiny-embed: has not loaded within 0.5 s, --load-timeout" in output[-1]
    assert "not tried: tiny-nli" in output[-1]
