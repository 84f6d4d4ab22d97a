"""Fixtures: the tiny bundles, a real server process over them, and a server inside the test."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
import tiny_kinds
from fakes import Held
from hypothesis import settings
from known_calibrations import CALIBRATIONS, TINY, keep_calibrations
from semserve_server.completion_queue.shared_event_loop import SharedEventLoop
from semserve_server.config import Config
from semserve_server.engine import Capacity, Engine
from semserve_server.facades.registration import Facades
from semserve_server.frontend.channel_arguments import ConnectionLimits
from semserve_server.frontend.grpc_server import GrpcServer
from semserve_server.frontend.security import OPEN, Security
from semserve_server.observability.recorder import Recorder
from semserve_server.registry.registry import ModelRegistry
from semserve_server.repository.manifest import find_bundles, read_bundle
from semserve_server.runtime.tokenizer import Tokenizer
from semserve_server.scheduling.cost_model import CostModel
from semserve_server.services.validation import Limits
from sessions import shared_session

# How long an example takes says how busy the machine is, and nothing about the code.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")

ROOT = Path(__file__).parent.parent
COMMAND = ("-m", "semserve_server")
SERVING = "serving on "
FRONTEND = os.environ.get("TEST_FRONTEND", Config().frontend)
"""The front end of every server of the tests."""
ONE_THREAD = ("--intra-op-threads", "1")
REAL_TIMES = 30.0
"""How many times as long as a run of `tiny-embed` one of MiniLM takes, which has six layers."""
SMALL_LIMITS = ConnectionLimits(
    max_message_bytes=1_000_000,
    max_stream_requests=8,
    max_stream_bytes=2_000_000,
    max_connections=100,
    max_connection_calls=10_000,
    max_connection_idle=60,
    max_connection_age=0,
    max_connection_age_grace=60,
    keepalive_time=60,
    keepalive_timeout=20,
    handshake_timeout=10,
)


GROUPS = {"real_address": "real", "kinds_address": "kinds"}
"""Servers that take seconds of processor time to start, and the group of xdist of their tests."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have one process of xdist run the tests of one server, and begin with what takes long."""
    for item in items:
        for fixture in GROUPS.keys() & set(getattr(item, "fixturenames", ())):
            if item.get_closest_marker("xdist_group") is None:
                item.add_marker(pytest.mark.xdist_group(GROUPS[fixture]))
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Return what makes the event loop of a test: that of the front end."""
    shared = FRONTEND == "completion-queue"
    return {FRONTEND: SharedEventLoop if shared else asyncio.new_event_loop}


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def tiny_models() -> Path:
    """A directory with the bundles `tiny-embed` and `tiny-nli`."""
    return TINY


@pytest.fixture(scope="session")
def real_models() -> Path:
    """A directory with the bundles that `make models` exports; skips where they are not there."""
    models = ROOT / "models"
    for name in ("minilm-l6-v2", "nli-minilm"):
        if not (models / name / "bundle.json").is_file():
            pytest.skip(f"models/{name} is not there: run `make models`")
    keep_calibrations(CALIBRATIONS, models, times=REAL_TIMES)
    return models


@pytest.fixture(scope="session")
def server_address(tiny_models: Path) -> Iterator[str]:
    """The address of a real `semserve-server` process over the tiny bundles."""
    with running_server("--models", str(tiny_models), *ONE_THREAD) as server:
        yield server.address


@pytest.fixture(scope="session")
def real_address(real_models: Path) -> Iterator[str]:
    """The address of a real `semserve-server` process over the exported models."""
    with running_server("--models", str(real_models), *ONE_THREAD) as server:
        yield server.address


@pytest.fixture(scope="session")
def kinds_address(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real `semserve-server` process over a model of each kind."""
    models = tiny_kinds.write_all(tmp_path_factory.mktemp("kinds"))
    tiny_kinds.prompted("e5-small-v2").write(models)  # which the README of the client names
    keep_calibrations(CALIBRATIONS, models)
    for name in ("tiny-embed", "tiny-nli"):
        shutil.copytree(tiny_models / name, models / name)
    defaults = ("--default-embedder", "tiny-embed", "--default-classifier", "tiny-nli")
    scorer = ("--default-scorer", "tiny-score")
    facades = ("--text-embeddings-inference",)
    arguments = ("--models", str(models), "--device", "cpu", *defaults, *scorer, *facades)
    with running_server(*arguments, *ONE_THREAD) as server:
        yield server.address


@pytest.fixture(scope="session")
def kinds_channel(kinds_address: str) -> grpc.Channel:
    """A channel to the server of `kinds_address`."""
    return grpc.insecure_channel(kinds_address)


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A server that has said where it listens."""

    process: subprocess.Popen[str]
    address: str
    line: str


@contextlib.contextmanager
def running_server(*arguments: str) -> Iterator[ServerProcess]:
    """Start `semserve-server` on a free port, wait until it serves, and end it."""
    process = start_server(*arguments)
    try:
        line = wait_for_line(process)
        address = line.split(SERVING)[1].split(": ")[0]
        yield ServerProcess(process, address, line)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def start_server(*arguments: str, command: Sequence[str] = COMMAND) -> subprocess.Popen[str]:
    """Start the command; nothing of the caller's settings reaches it."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SEMSERVE_")}
    address = [] if "--address" in arguments else ["--address", "127.0.0.1:0"]
    clean["SEMSERVE_CACHE_DIR"] = CALIBRATIONS
    clean["SEMSERVE_FRONTEND"] = FRONTEND
    return subprocess.Popen(
        [sys.executable, *command, *address, *arguments],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=clean,
    )


def wait_for_line(process: subprocess.Popen[str], said: list[str] | None = None) -> str:
    """Return the line that says that the server serves, or fail with all that it said.

    Lines are added to `said` too, where it is given.
    """
    said = [] if said is None else said
    assert process.stderr is not None
    for line in process.stderr:
        said.append(line)
        if SERVING in line:
            return line.rstrip()
    raise AssertionError(f"the server never served: {''.join(said)}")


def fails(*arguments: str, **environment: str) -> tuple[int, str]:
    """Run the command where it must not start; its exit code and last line."""
    address = [] if "--address" in arguments else ["--address", "127.0.0.1:0"]
    ended = subprocess.run(
        [sys.executable, "-m", "semserve_server", *address, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"SEMSERVE_CACHE_DIR": CALIBRATIONS} | environment,
        check=False,
    )
    return ended.returncode, (ended.stderr.strip().splitlines() or [""])[-1]


@dataclass(frozen=True, slots=True)
class InProcess:
    """A server inside the test, whose runs can be held."""

    address: str
    channel: grpc.aio.Channel
    embedder: Held
    classifier: Held
    port: GrpcServer
    engines: list[Engine]
    models: ModelRegistry
    recorder: Recorder


@pytest.fixture
async def service(tiny_models: Path) -> AsyncIterator[InProcess]:
    """A real gRPC server over the tiny bundles and real sessions, with small limits."""
    async with in_process(tiny_models) as server:
        yield server


@contextlib.asynccontextmanager
async def in_process(
    models_directory: Path,
    *,
    workers: int = 1,
    limits: ConnectionLimits = SMALL_LIMITS,
    security: Security = OPEN,
    recorder: Recorder | None = None,
    facades: Facades = Facades(),
) -> AsyncIterator[InProcess]:
    """Serve the tiny bundles inside the test."""
    held = {}
    models = ModelRegistry()
    recorder = recorder or Recorder()
    engines = []
    for path in find_bundles(models_directory):
        bundle = read_bundle(path)
        manifest = bundle.manifest
        session = shared_session(bundle)
        held[manifest.task] = Held(session)
        capacity = Capacity(
            workers=workers,
            threads=1,
            exclusive_threads=2,
            max_batch_tokens=512,
            max_queue_entries=256,
            max_queue_tokens=10_000,
            max_queue_characters=100_000,
            cost=CostModel(),
        )
        tokenizer = Tokenizer(bundle.tokenizer, max_length=manifest.max_sequence_length)
        runner, provider = held[manifest.task], session.provider
        engines.append(
            Engine(bundle, tokenizer, runner, capacity, variant="portable", provider=provider)
        )
    port = GrpcServer(
        models,
        Limits(max_texts=200, max_text_bytes=4096),
        limits,
        recorder,
        security,
        facades=facades,
    )
    number = await port.open("127.0.0.1:0")
    models.open(engines)
    try:
        address = f"127.0.0.1:{number}"
        async with grpc.aio.insecure_channel(address) as channel:
            yield InProcess(
                address, channel, held["embedding"], held["classification"], port, engines, models,
                recorder,
            )  # fmt: skip
    finally:
        for one in held.values():
            one.release()
        await port.drain(0)
        for engine in engines:
            engine.close()
