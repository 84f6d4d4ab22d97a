"""A server inside the test whose answers are large and cost nothing, with real settings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub
from semserve_server.config import Config
from semserve_server.frontend.grpc_server import GrpcServer
from semserve_server.instrumentation.counters import ModelCounters
from semserve_server.observability.recorder import Recorder
from semserve_server.registry.model_manager import ModelManager
from semserve_server.registry.registry import ModelRegistry
from semserve_server.server import new_grpc_server


@dataclass(frozen=True, slots=True)
class Echoing:
    """A server inside the test whose answers are large and cost nothing."""

    address: str
    port: GrpcServer
    recorder: Recorder
    channel: grpc.aio.Channel
    counters: ModelCounters
    metadata: tuple[tuple[str, str], ...]
    """The key of calls, where the server wants one."""

    def gauge(self, name: str) -> float:
        return self.recorder.gauges[name][1]()

    @property
    def embedded(self) -> int:
        """Embed calls that were answered."""
        counters = {f"{one.service}/{one.name}": one for one in self.recorder.methods}
        return counters["semserve.v1.EmbeddingService/Embed"].requests.codes["OK"]

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait for something while another client is served."""
        while not reached():
            await HealthStub(self.channel).Check(HealthCheckRequest())

    async def settled(self) -> float:
        """Return what is held once no request is being answered and it does not change."""
        before, now, same = -1.0, 0.0, 0
        while same < 20:
            await HealthStub(self.channel).Check(HealthCheckRequest())
            before, now = now, self.gauge("unread_bytes")
            same = same + 1 if now == before else 0
        return now


@asynccontextmanager
async def echoing(
    *, dimensions: int = 1024, key: str = "", **settings: Any
) -> AsyncIterator[Echoing]:
    """Serve `echo` with some settings of the test's own."""
    config = Config(echo=dimensions, batch_workers=1, **settings)
    models, recorder = ModelRegistry(), Recorder()
    control = ModelManager(config, models)
    port = new_grpc_server(config, models, recorder)
    metadata = (("authorization", f"Bearer {key}"),)
    number = await port.open("127.0.0.1:0")
    try:
        await control.start(asyncio.Event())
        async with grpc.aio.insecure_channel(f"127.0.0.1:{number}") as channel:
            counters = models.named("echo").counters
            yield Echoing(f"127.0.0.1:{number}", port, recorder, channel, counters, metadata)
    finally:
        await port.drain(0)
        control.close()
