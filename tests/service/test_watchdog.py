"""The watchdog: what hangs turns health, is told of in the log, and ends the process at last."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading

import pytest
from conftest import InProcess
from fakes import Deadly
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from health_list import list_health
from semserve.v1.embedding_pb2 import EmbedRequest
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub
from semserve_server.errors import EngineFailed
from semserve_server.supervision import watchdog
from semserve_server.supervision.watchdog import LoopWatch, Watchdog

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
TURNS_NO_MORE = """
import asyncio, logging, threading
from semserve_server.completion_queue.shared_event_loop import SharedEventLoop
from semserve_server.supervision import watchdog
logging.basicConfig(format="%(message)s")
watchdog.CHECK_SECONDS = 0.01
def hold_up_the_loop():
    threading.Event().wait()
async def main():
    with watchdog.LoopWatch(stall_timeout=0.05, run_timeout=0.1):
        {block}
        await asyncio.Event().wait()
asyncio.Runner(loop_factory=SharedEventLoop).run(main())
"""
BLOCKS = {
    "its own thread": "hold_up_the_loop()",
    "a guest": """
        loop = asyncio.get_running_loop()
        loop.add_receiver(lambda: threading.current_thread().name == "guest" and hold_up_the_loop())
        threading.Thread(target=loop.run_guest, name="guest", daemon=True).start()
    """,
}
"""What blocks the event loop, by the thread that runs it."""


async def health(service: InProcess) -> dict[str, int]:
    """Tell the health of the server and of its models; that of services follows from theirs."""
    listed = await list_health(service.channel)
    return {n: status for n, status in listed.items() if not n.startswith("semserve.v1.")}


async def a_run_that_hangs(service: InProcess) -> asyncio.Task[None]:
    async def embed() -> None:
        await EmbeddingServiceStub(service.channel).Embed(EmbedRequest(texts=["a"]))

    service.embedder.hold()
    call = asyncio.create_task(embed())
    await asyncio.to_thread(service.embedder.wait_for_run)
    return call


async def test_a_run_that_hangs_turns_health_until_it_returns(
    service: InProcess, caplog: pytest.LogCaptureFixture
) -> None:
    dog = Watchdog(service.models, stall_timeout=2, run_timeout=60)
    watch = HealthStub(service.channel).Watch(health_pb2.HealthCheckRequest(service="tiny-embed"))
    assert SERVING == (await watch.read()).status
    call = await a_run_that_hangs(service)
    for _ in range(2):
        dog.check()
    assert {"": SERVING, "tiny-embed": SERVING, "tiny-nli": SERVING} == await health(service)
    dog.check()
    assert NOT_SERVING == (await watch.read()).status
    assert {"": NOT_SERVING, "tiny-embed": NOT_SERVING, "tiny-nli": SERVING} == await health(
        service
    )
    assert "tiny-embed: a run has not returned for 2 s: NOT_SERVING until it does;" in caplog.text
    service.embedder.release()
    await call
    while service.engines[0].runs():
        await health(service)  # the worker is on its way back
    dog.check()
    assert SERVING == (await watch.read()).status
    assert SERVING == (await health(service))[""]


async def test_a_run_that_never_returns_ends_the_watch_with_its_reason(
    service: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "CHECK_SECONDS", 0.01)
    call = await a_run_that_hangs(service)
    dog = Watchdog(service.models, stall_timeout=0.02, run_timeout=0.05)
    with pytest.raises(
        EngineFailed, match="tiny-embed: a run has not returned for 0 s, --run-timeout"
    ):
        await dog.watch(asyncio.Event())
    service.embedder.release()
    await call


async def test_a_lane_that_died_ends_the_watch(service: InProcess) -> None:
    service.embedder.runner = Deadly()
    with pytest.raises(Exception, match="inference failed"):
        await EmbeddingServiceStub(service.channel).Embed(EmbedRequest(texts=["a"]))
    with pytest.raises(EngineFailed, match="tiny-embed: a batch worker died"):
        await Watchdog(service.models, stall_timeout=2, run_timeout=60).watch(asyncio.Event())


async def test_a_batch_worker_without_a_thread_ends_the_watch(service: InProcess) -> None:
    """Not even its last words have come."""
    worker, _ = service.engines[0].workers
    worker.thread = threading.Thread()
    with pytest.raises(EngineFailed, match="tiny-embed: a batch worker died"):
        Watchdog(service.models, stall_timeout=2, run_timeout=60).check()


class Told(logging.Handler):
    """Tells that something was logged, and what."""

    def __init__(self) -> None:
        super().__init__()
        self.event = threading.Event()
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text += record.getMessage()
        self.event.set()


def hold_up(told: threading.Event) -> None:
    assert told.wait(60)


async def test_a_blocked_event_loop_is_told_of_with_what_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watchdog, "CHECK_SECONDS", 0.01)
    reported = Told()
    watchdog.log.addHandler(reported)
    try:
        with LoopWatch(stall_timeout=0.05, run_timeout=600):
            hold_up(reported.event)
    finally:
        watchdog.log.removeHandler(reported)
    assert "the event loop has been blocked" in reported.text
    assert "in hold_up" in reported.text


@pytest.mark.parametrize("thread", BLOCKS)
def test_an_event_loop_that_stays_blocked_ends_the_process(thread: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", TURNS_NO_MORE.format(block=BLOCKS[thread])],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert 1 == ended.returncode
    assert "in hold_up_the_loop" in ended.stderr
    assert "the process ends" in ended.stderr
