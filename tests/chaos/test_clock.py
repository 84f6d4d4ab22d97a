"""Clocks on the wall step; what the server measures and waits for does not."""

from __future__ import annotations

import ast
import asyncio
import os
import shutil
import signal
import struct
import subprocess
from pathlib import Path

import grpc
import pytest
from conftest import ROOT
from semserve.v1.embedding_pb2 import EmbedRequest
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub

from chaos.answers import Answers
from chaos.bystanders import bystanders
from chaos.server import serving

SERVER = ROOT / "server" / "semserve_server"
WALL = {"time", "time_ns", "now", "utcnow", "today", "localtime", "gmtime"}
TOLD = {
    "observability/tracing.py", "observability/logs.py", "graph_cache/graph_cache.py",
    "completion_queue/context.py",
}  # fmt: skip
"""What tells people and tracers when something was may read the wall's clock, and what compares it
with the times of files: a step of it removes at most an unfinished entry of the cache. grpcio gives
the deadline of a call by the wall's clock; the context of a call converts it when the call
arrives."""
STEPS = (3600, -86_400, 0, -3600, 10**9)
"""Seconds by which the clock is off, one after another; the last are thirty years."""


def test_only_what_tells_the_time_reads_the_clock_on_the_wall() -> None:
    readers = {
        str(path.relative_to(SERVER))
        for path in SERVER.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if reads_the_wall(node)
    }
    assert readers <= TOLD


def reads_the_wall(node: ast.AST) -> bool:
    """Tell whether a node is such as `time.time`, `datetime.now` or `from time import time`."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return node.value.id in {"time", "datetime", "date"} and node.attr in WALL
    if isinstance(node, ast.ImportFrom):
        return node.module == "time" and any(alias.name in WALL for alias in node.names)
    return False


async def test_a_clock_that_steps_under_load_fails_no_call(
    answers: Answers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole process, gRPC's own threads included, is given a clock that the test sets."""
    offset = tmp_path / "offset"
    offset.write_bytes(struct.pack("q", 0))
    monkeypatch.setenv("LD_PRELOAD", str(stepping_clock(tmp_path)))
    monkeypatch.setenv("STEPPING_CLOCK", str(offset))
    with serving() as server:
        monkeypatch.delenv("LD_PRELOAD")
        async with (
            bystanders(server, answers) as others,
            grpc.aio.insecure_channel(server.address) as channel,
        ):
            stub = EmbeddingServiceStub(channel)
            for step in STEPS:
                await others.wait_for(20)
                with offset.open("r+b") as file:
                    file.write(struct.pack("q", step))
                await others.wait_for(20)
                assert (await stub.Embed(EmbedRequest(texts=["a cat"]), timeout=30)).results
        assert 0 == others.tally.faults, others.tally
        begun = server.said.split("-")[0]
        server.process.popen.send_signal(signal.SIGTERM)
        assert 0 == await asyncio.to_thread(server.process.popen.wait, 30)
        assert server.said.splitlines()[-1].split("-")[0] > begun, "the clock did step"


def stepping_clock(directory: Path) -> Path:
    """Compile the library that stands between the process and the clock on the wall."""
    compiler = shutil.which("cc")
    if not compiler or os.uname().sysname != "Linux":
        pytest.skip("needs a C compiler, and Linux")
    library = directory / "stepping_clock.so"
    source = Path(__file__).with_name("stepping_clock.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
    return library
