"""Puts the parts together, serves until told to stop, and takes them apart in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass

from semserve_server import __version__
from semserve_server.bundle import Bundle, find_bundles, read_bundle
from semserve_server.calibration import calibrate
from semserve_server.config import Config
from semserve_server.engine import Capacity, Engine, prove_golden
from semserve_server.errors import BundleError, ConfigError
from semserve_server.models import Models
from semserve_server.services.checks import Limits
from semserve_server.services.port import Port, PortLimits
from semserve_server.session import CUDA, Graph, Session, usable_cpus

log = logging.getLogger(__name__)

CUDA_TOLERANCE = 1e-4
"""Largest difference from Keras on CUDA, whose kernels add up in another order."""


async def serve(config: Config) -> None:
    """Serve until SIGTERM or SIGINT, then drain.

    The order of the end: health to NOT_SERVING, wait for balancers, refuse new work, finish what
    was admitted within the bound, close the engines.

    Raises:
        StartupError: a bundle or a setting cannot be served.
    """
    if config.max_request_texts > config.max_queue_entries:
        raise ConfigError(
            f"--max-request-texts {config.max_request_texts}: a queue of "
            f"--max-queue-entries {config.max_queue_entries} could never admit so many"
        )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for ending in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(ending, stop.set)
    models = Models(
        defaults={
            "embedding": config.default_embedder,
            "classification": config.default_classifier,
        }
    )
    port = _port(config, models)
    number = await port.open(config.address)
    try:
        async with _engines(config, port) as engines:
            models.open(engines)
            await port.tell_serving(models)
            log.info("%s", _banner(config, number, engines))
            await stop.wait()
            log.info("draining, for at most %g s", config.drain_timeout)
            await port.tell_not_serving()
            await asyncio.sleep(config.drain_delay)
            await port.drain(config.drain_timeout)
    finally:
        await port.drain(0)
    log.info("stopped")


def _port(config: Config, models: Models) -> Port:
    return Port(
        models,
        Limits(max_texts=config.max_request_texts, max_text_bytes=config.max_text_bytes),
        PortLimits(
            max_message_bytes=config.max_message_bytes,
            max_stream_requests=config.max_stream_requests,
        ),
    )


@contextlib.asynccontextmanager
async def _engines(config: Config, port: Port) -> AsyncIterator[list[Engine]]:
    """Load and prove every bundle, without holding up the event loop, and close them at the end."""
    loop = asyncio.get_running_loop()
    engines: list[Engine] = []
    failures: set[asyncio.Task[None]] = set()
    try:
        for loaded in await asyncio.to_thread(_load_all, config):
            name = loaded.bundle.manifest.model
            engine = Engine(
                loaded.bundle,
                loaded.session,
                loaded.capacity,
                provider=loaded.session.provider,
                on_failure=lambda name=name: failures.add(  # type: ignore[misc]  # a default binds it
                    loop.create_task(port.tell_failed(name))
                ),
            )
            engines.append(engine)
        yield engines
    finally:
        for engine in engines:
            engine.close()


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A bundle whose session has given the golden answers."""

    bundle: Bundle
    session: Session
    capacity: Capacity


def _load_all(config: Config) -> list[_Loaded]:
    loaded = [_load(config, read_bundle(path)) for path in find_bundles(config.models)]
    names = [one.bundle.manifest.model for one in loaded]
    for name in names:
        if names.count(name) > 1:
            raise BundleError(f"{config.models}: two bundles are named {name!r}: remove one")
    return loaded


def _load(config: Config, bundle: Bundle) -> _Loaded:
    manifest = bundle.manifest
    graph = Graph(
        path=bundle.directory / manifest.variants["portable"].file,
        inputs=tuple(manifest.inputs),
        output=manifest.output,
    )
    cpus = usable_cpus()
    lanes = config.lanes or cpus
    threads = config.threads or max(cpus // lanes, 1)
    session = Session(graph, device=config.device, threads=threads)
    on_cuda = session.provider == CUDA
    difference = prove_golden(bundle, session, tolerance=CUDA_TOLERANCE if on_cuda else None)
    log.debug("%s: differs from Keras by %.1e", manifest.model, difference)
    calibration = calibrate(session)
    capacity = Capacity(
        # One CUDA session is one stream: runs side by side would only wait for each other.
        lanes=(config.lanes or 1) if on_cuda else lanes,
        threads=threads,
        max_batch_tokens=config.max_batch_tokens or calibration.max_batch_tokens,
        max_queue_entries=config.max_queue_entries,
        cost=calibration.cost,
    )
    return _Loaded(bundle, session, capacity)


def _banner(config: Config, port: int, engines: list[Engine]) -> str:
    host = config.address.rpartition(":")[0]
    address = config.address if config.address.startswith("unix:") else f"{host}:{port}"
    served = ", ".join(
        f"{engine.name} ({engine.manifest.task}, {engine.provider}, {engine.capacity})"
        for engine in engines
    )
    return f"semserve {__version__} serving on {address}: {served}"
