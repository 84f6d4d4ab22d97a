"""What must not keep a server from answering or from ending, each with a server of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
from grpc import StatusCode
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from semserve.v1.embedding_pb2 import EmbedRequest
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub
from semserve.v1.model_pb2 import GetModelRequest
from semserve.v1.model_pb2_grpc import ModelServiceStub

from chaos.client import PATIENCE
from chaos.server import SERVING, TINY, known_calibrations, serving
from chaos.trouble import HANG, make_troubled

WATCHERS = 8
NOT_SERVING = HealthCheckResponse.NOT_SERVING
LONG_DRAIN = ("--drain-timeout", str(10 * PATIENCE))


async def watches_come_back() -> None:
    """Watchers that open their stream again at once do not hold up the end."""
    with serving(*LONG_DRAIN) as server:
        async with (
            grpc.aio.insecure_channel(server.address) as channel,
            _coming_back(channel),
        ):
            check = await HealthStub(channel).Check(HealthCheckRequest(), timeout=PATIENCE)
            assert check.status == HealthCheckResponse.SERVING
            server.process.popen.send_signal(signal.SIGTERM)
            code = await asyncio.to_thread(server.process.popen.wait, PATIENCE)
        assert code == 0, f"exit code {code}: {server.said}"


@contextlib.asynccontextmanager
async def _coming_back(channel: grpc.aio.Channel) -> AsyncIterator[None]:
    """Watch the server's health, again and again, until the end of the block."""

    async def watch() -> None:
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError):
                async for _ in HealthStub(channel).Watch(HealthCheckRequest()):
                    pass

    watching = [asyncio.create_task(watch()) for _ in range(WATCHERS)]
    try:
        yield
    finally:
        for task in watching:
            task.cancel()
        await asyncio.wait(watching)


async def nobody_reads_the_log(*, calls: int = 700) -> None:
    """A full pipe behind standard error delays no answer, no health and no end."""
    with _unread("--access-log", *LONG_DRAIN) as (process, address):
        async with grpc.aio.insecure_channel(address) as channel:
            stub = EmbeddingServiceStub(channel)
            for start in range(0, calls, 100):
                batch = (
                    stub.Embed(EmbedRequest(texts=["a cat"]), timeout=PATIENCE)
                    for _ in range(start, start + 100)
                )
                await asyncio.gather(*batch)
            check = await HealthStub(channel).Check(HealthCheckRequest(), timeout=PATIENCE)
            assert check.status == HealthCheckResponse.SERVING
        process.send_signal(signal.SIGTERM)
        code = await asyncio.to_thread(process.wait, PATIENCE)
        assert code == 0, f"exit code {code}"


@contextlib.contextmanager
def _unread(*flags: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Start a server, and read its standard error no further than to its address."""
    command = [sys.executable, "-m", "semserve_server", "--address", "127.0.0.1:0"]
    read, write = os.pipe()
    process = subprocess.Popen(
        [*command, "--models", TINY, *flags], stderr=write, env=os.environ | known_calibrations()
    )
    os.close(write)
    try:
        output = ""
        while SERVING not in output or "\n" not in output.split(SERVING)[1]:
            some = os.read(read, 4096)
            assert some, f"it never served: {output}"
            output += some.decode()
        yield process, output.split(SERVING)[1].split(": ")[0]
    finally:
        process.kill()
        process.wait()
        os.close(read)


async def reload_beside_a_hung_run() -> None:
    """A run that hangs ends the process though its model is replaced and its caller has left."""
    with tempfile.TemporaryDirectory() as directory:
        bundle = make_troubled(Path(directory))
        flags = ("--run-timeout", "4", "--stall-timeout", "1")
        with serving(*flags, models=Path(directory)) as server:
            async with grpc.aio.insecure_channel(server.address) as channel:
                watch = HealthStub(channel).Watch(HealthCheckRequest())
                await watch.read()
                stub = EmbeddingServiceStub(channel)
                hanging = stub.Embed(EmbedRequest(texts=[f"a {HANG}"]), timeout=1)
                assert NOT_SERVING == (await watch.read()).status
                before = await _digest(channel)
                _put_whole(bundle)
                server.process.popen.send_signal(signal.SIGHUP)
                async with asyncio.timeout(PATIENCE):
                    while await _digest(channel) == before:
                        pass
                assert await hanging.code() == StatusCode.DEADLINE_EXCEEDED
                answer = await stub.Embed(EmbedRequest(texts=["a cat"]), timeout=PATIENCE)
                assert len(answer.results) == 1
            code = await asyncio.to_thread(server.process.popen.wait, PATIENCE)
            assert code == 1, f"exit code {code}: {server.said}"
            assert "a run has not returned" in server.said.splitlines()[-1]


def _put_whole(bundle: Path) -> None:
    """Put the bundle without trouble in the place of the troubled one, the manifest last."""
    whole = TINY / "tiny-embed"
    for file in whole.iterdir():
        if file.name != "bundle.json":
            shutil.copy(file, bundle / file.name)
    shutil.copy(whole / "bundle.json", bundle / "bundle.json.unfinished")
    (bundle / "bundle.json.unfinished").replace(bundle / "bundle.json")


async def _digest(channel: grpc.aio.Channel) -> str:
    """Tell which bundle is served."""
    request = GetModelRequest(model="tiny-embed")
    return (await ModelServiceStub(channel).GetModel(request, timeout=PATIENCE)).model.digest


OBSTACLES = (watches_come_back, nobody_reads_the_log, reload_beside_a_hung_run)
