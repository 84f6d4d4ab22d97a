"""What hangs is found by its thread, whoever has been replaced or left meanwhile."""

from __future__ import annotations

import asyncio
import re
import threading
from pathlib import Path

import grpc
import pytest
from conftest import InProcess, start_server, wait_for_line
from controlled import NAME, describe, serving
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from prometheus_client import CollectorRegistry
from refusals import refusal
from semserve.v1.embedding_pb2 import EmbedRequest
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub
from semserve_server.config import Config
from semserve_server.engine import Engine
from semserve_server.errors import EngineFailed
from semserve_server.observability.metrics import Metrics
from semserve_server.observability.recorder import Recorder
from semserve_server.registry import loader_thread as loader
from semserve_server.registry import model_manager as control
from semserve_server.registry.calibration_source import CalibrationSource
from semserve_server.registry.registry import ModelRegistry
from semserve_server.repository.manifest import read_bundle
from semserve_server.runtime.tokenizer import Tokenizer
from semserve_server.supervision.watchdog import Watchdog
from sessions import load_session

SERVING = HealthCheckResponse.SERVING
NOT_SERVING = HealthCheckResponse.NOT_SERVING
LOAD_TIMEOUT = 5
"""Seconds that a load of the tiny model may take; it takes less than one."""
HELD_LOCK = """
import asyncio, ctypes
from semserve_server import __main__, server
from semserve_server.supervision import watchdog
watchdog.CHECK_SECONDS, watchdog.LAST_RESORT_SECONDS = 0.05, 0.5
class HoldsTheLock(watchdog.Watchdog):
    async def watch(self, until):
        asyncio.get_running_loop().call_later(0.3, ctypes.PyDLL(None).sleep, 600)
        await super().watch(until)
server.Watchdog = HoldsTheLock
__main__.main()
"""
CRASHES = """
import asyncio
from semserve_server import __main__, server
from semserve_server.frontend import grpc_server
from semserve_server.supervision.watchdog import Watchdog
new_server, made = grpc_server.new_server, []
def remembered(*arguments, **options):
    made.append(new_server(*arguments, **options))
    return made[-1]
class StopsGrpc(Watchdog):
    async def watch(self, until):
        asyncio.ensure_future(made[-1].stop(None))
        await super().watch(until)
grpc_server.new_server, server.Watchdog = remembered, StopsGrpc
__main__.main()
"""


def hanging(models: ModelRegistry) -> dict[str, float | None]:
    """What Prometheus is told of threads that hang, by what they do."""
    registry = CollectorRegistry()
    registry.register(Metrics(Recorder(), models))
    return {
        kind: registry.get_sample_value("semserve_workers_stalled", {"kind": kind})
        for kind in ("run", "tokenize", "load")
    }


async def test_a_run_that_hangs_ends_the_server_though_its_model_was_replaced(
    service: InProcess, tiny_models: Path
) -> None:
    """And though its caller has left, so that nobody has the engine any more."""
    health = HealthStub(service.channel)
    dog = Watchdog(service.models, stall_timeout=2, run_timeout=6)
    service.embedder.hold()
    call = EmbeddingServiceStub(service.channel).Embed(EmbedRequest(texts=["a"]))
    await asyncio.to_thread(service.embedder.wait_for_run)
    for _ in range(3):
        dog.check()
    assert NOT_SERVING == (await health.Check(HealthCheckRequest())).status
    service.engines.append(another(service.engines.pop(0), tiny_models))
    service.models.put(service.engines[-1])
    call.cancel()
    assert SERVING == (await health.Check(HealthCheckRequest(service="tiny-embed"))).status
    assert NOT_SERVING == (await health.Check(HealthCheckRequest())).status
    assert {"run": 1, "tokenize": 0, "load": 0} == hanging(service.models)
    for _ in range(3):
        dog.check()
    with pytest.raises(EngineFailed, match="tiny-embed: a run has not returned for 6 s"):
        dog.check()
    service.embedder.release()


def another(engine: Engine, models: Path) -> Engine:
    """Make an engine of the same model."""
    bundle = read_bundle(models / engine.name)
    return Engine(
        bundle, engine.tokenizer, load_session(bundle), engine.capacity,
        variant=engine.variant, provider=engine.provider,
    )  # fmt: skip


async def test_a_text_that_is_tokenised_for_ever_ends_the_server(
    service: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end = threading.Event(), threading.Event()
    encode = Tokenizer.encode

    def hang(*arguments: object) -> object:
        begun.set()
        may_end.wait(60)
        return encode(*arguments)

    monkeypatch.setattr(Tokenizer, "encode", hang)
    dog = Watchdog(service.models, stall_timeout=2, run_timeout=4)
    request = EmbedRequest(texts=["a cat " * 500])
    call = asyncio.ensure_future(EmbeddingServiceStub(service.channel).Embed(request).code())
    await asyncio.to_thread(begun.wait, 60)
    for _ in range(4):
        dog.check()
    with pytest.raises(EngineFailed, match="tiny-embed: tokenising texts has not returned for 4 s"):
        dog.check()
    assert {"run": 0, "tokenize": 1, "load": 0} == hanging(service.models)
    may_end.set()
    assert grpc.StatusCode.OK == await call


async def test_a_load_that_hangs_is_refused_and_others_are_loaded(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end = threading.Event()
    load = control.load

    def hang(config: Config, bundle: Path, calibrations: CalibrationSource) -> object:
        if bundle.name == NAME:
            may_end.wait(60)
        return load(config, bundle, calibrations)

    monkeypatch.setattr(loader, "MAX_HUNG_LOADS", 1)
    async with serving(directory, load_timeout=LOAD_TIMEOUT) as served:
        monkeypatch.setattr(control, "load", hang)
        describe(served.bundle, "hangs")
        told = await refusal(served.load())
        says = "tiny-embed: has not loaded within 5 s, --load-timeout: abandoned"
        assert (grpc.StatusCode.FAILED_PRECONDITION, says) == (told.code, told.message)
        assert {"run": 0, "tokenize": 0, "load": 1} == hanging(served.models)
        assert (SERVING, says) == (await served.health(""), (await served.info()).reload_error)
        assert "1 earlier loads hang" in (await refusal(served.load())).message
        assert 16 == len(await served.embed())
        may_end.set()
        while hanging(served.models)["load"]:
            await served.info()  # the thread is on its way back
        assert "hangs" == (await served.load()).description
        assert "" == (await served.info()).reload_error


def test_a_thread_that_keeps_pythons_lock_ends_the_process() -> None:
    """No thread of Python's sees that, nor could log it."""
    process = start_server("--echo", "8", "--run-timeout", "0.5", command=("-c", HELD_LOCK))
    said = process.communicate(timeout=60)[1]
    assert 1 == process.returncode
    assert re.search("Timeout .*\\nThread.*most recent call first", said)


def test_a_grpc_server_that_stops_by_itself_ends_the_process() -> None:
    process = start_server("--echo", "8", command=("-c", CRASHES))
    said = process.communicate(timeout=60)[1]
    assert 1 == process.returncode
    says = "semserve-server: gRPC's server has stopped; see the log lines above"
    assert says == said.splitlines()[-1]


def test_no_timeout_means_never(tiny_models: Path) -> None:
    """And not at once: an idle server goes on, though two of its timers are never in step."""
    process = start_server(
        "--models", str(tiny_models), "--run-timeout", "0", "--stall-timeout", "0",
        command=("-c", IDLE),
    )  # fmt: skip
    line = wait_for_line(process)
    assert "serving on" in line
    said = process.communicate(timeout=60)[1]
    assert 0 == process.returncode, said
    assert "blocked" not in said


IDLE = """
import asyncio, os, signal
from semserve_server import __main__, server
from semserve_server.supervision import watchdog
watchdog.CHECK_SECONDS = 0.01
class EndsSoon(watchdog.Watchdog):
    async def watch(self, until):
        asyncio.get_running_loop().call_later(1, os.kill, os.getpid(), signal.SIGTERM)
        await super().watch(until)
server.Watchdog = EndsSoon
__main__.main()
"""
