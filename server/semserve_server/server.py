"""Puts the parts together, serves until told to stop, and takes them apart in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
import time
from collections.abc import AsyncIterator

from semserve_server import __version__
from semserve_server.config import Config
from semserve_server.engine import Engine
from semserve_server.errors import ConfigError, EngineFailed
from semserve_server.keyring import Keyring
from semserve_server.loading import load_all
from semserve_server.models import Models
from semserve_server.observe.observation import observing
from semserve_server.observe.observer import Observer
from semserve_server.services.certificates import Certificates
from semserve_server.services.checks import Limits
from semserve_server.services.port import Port, is_local
from semserve_server.services.port_limits import PortLimits
from semserve_server.services.security import Security

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How often the watchdog looks at the runs."""


async def serve(config: Config) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second one ends the drain.

    The order of the end: health to NOT_SERVING, wait for balancers, refuse new work, finish what
    was admitted within the bound, close the engines.

    Raises:
        StartupError: a bundle or a setting cannot be served.
        EngineFailed: a lane died or a run did not return.
    """
    if config.max_request_texts > config.max_queue_entries:
        raise ConfigError(
            f"--max-request-texts {config.max_request_texts}: a queue of "
            f"--max-queue-entries {config.max_queue_entries} could never admit so many"
        )
    models = _models(config)
    async with observing(config, models) as observer:
        await _serve(config, models, observer)
    log.info("stopped")


async def _serve(config: Config, models: Models, observer: Observer) -> None:
    stop, hurry = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def end() -> None:
        (hurry if stop.is_set() else stop).set()

    for ending in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(ending, end)
    port = _port(config, models, observer)
    number = await port.open(config.address)
    try:
        async with _engines(config, stop) as engines:
            if stop.is_set():
                return
            models.open(engines)
            await port.tell_serving(models)
            log.info("%s", _banner(config, number, engines))
            await _watch(engines, stop, config.run_timeout)
            log.info("draining, for at most %g s", config.drain_timeout)
            await port.tell_not_serving()
            await _either(hurry, config.drain_delay)
            draining = asyncio.create_task(port.drain(config.drain_timeout))
            await asyncio.wait(
                [draining, hurried := asyncio.create_task(hurry.wait())],
                return_when=asyncio.FIRST_COMPLETED,
            )
            hurried.cancel()
    finally:
        await port.tell_not_serving()
        await port.drain(0)


def _models(config: Config) -> Models:
    return Models(
        defaults={
            "embedding": config.default_embedder,
            "classification": config.default_classifier,
        }
    )


def _port(config: Config, models: Models, observer: Observer) -> Port:
    return Port(
        models,
        Limits(max_texts=config.max_request_texts, max_text_bytes=config.max_text_bytes),
        PortLimits(
            max_message_bytes=config.max_message_bytes,
            max_stream_requests=config.max_stream_requests,
            max_stream_bytes=config.max_stream_bytes,
            max_connections=config.max_connections,
            max_connection_calls=config.max_connection_calls,
            max_connection_idle=config.max_connection_idle,
            max_connection_age=config.max_connection_age,
            max_connection_grace=config.max_connection_grace,
            keepalive_time=config.keepalive_time,
            keepalive_timeout=config.keepalive_timeout,
            handshake_timeout=config.handshake_timeout,
        ),
        observer=observer,
        security=_security(config),
    )


def _security(config: Config) -> Security:
    """Read certificates and keys, as far as they are asked for.

    Raises:
        ConfigError: one is wrong, or goes only with another.
    """
    certificates = None
    if config.tls_certificate and config.tls_key:
        certificates = Certificates(config.tls_certificate, config.tls_key, config.tls_client_ca)
    elif config.tls_certificate or config.tls_key or config.tls_client_ca:
        raise ConfigError("TLS needs both --tls-certificate and --tls-key")
    keyring = Keyring(config.keys) if config.keys else None
    if keyring and not certificates and not is_local(config.address):
        log.warning(
            "--keys without --tls-certificate: whoever listens on the network to %s reads the keys",
            config.address,
        )
    return Security(
        certificates=certificates,
        keyring=keyring,
        open_health=config.open_health,
        open_reflection=config.open_reflection,
    )


@contextlib.asynccontextmanager
async def _engines(config: Config, stop: asyncio.Event) -> AsyncIterator[list[Engine]]:
    """Load every bundle on a thread, so that health answers meanwhile; close the engines last.

    Where `stop` is set before they are loaded, there are none.
    """
    engines: list[Engine] = []
    enough = threading.Event()
    loading = asyncio.create_task(asyncio.to_thread(load_all, config, enough))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([loading, stopping], return_when=asyncio.FIRST_COMPLETED)
        enough.set()
        loaded = await loading
        if not stop.is_set():
            engines += [
                Engine(
                    one.bundle,
                    one.tokenizer,
                    one.runner,
                    one.capacity,
                    variant=one.variant,
                    provider=one.provider,
                )
                for one in loaded
            ]
        yield engines
    finally:
        stopping.cancel()
        for engine in engines:
            engine.close()


async def _watch(engines: list[Engine], stop: asyncio.Event, run_timeout: float) -> None:
    """Wait for `stop`, and look at the engines now and then.

    Raises:
        EngineFailed: one of them will never answer again. A process whose threads hang cannot be
            mended from inside: it tells why and ends, for its supervisor to start another.
    """
    while not await _either(stop, LOOK_SECONDS):
        for engine in engines:
            if engine.failed:
                raise EngineFailed(f"{engine.name}: a lane died; the log above says of what")
            seconds = max(
                (time.monotonic() - since for since in engine.runs().values()), default=0.0
            )
            if seconds > run_timeout:
                raise EngineFailed(
                    f"{engine.name}: a run has not returned for {seconds:.0f} s, "
                    f"--run-timeout is {run_timeout:g}"
                )


async def _either(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event, at most so long; tell whether it came."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    return event.is_set()


def _banner(config: Config, port: int, engines: list[Engine]) -> str:
    host = config.address.rpartition(":")[0]
    address = config.address if config.address.startswith("unix:") else f"{host}:{port}"
    served = ", ".join(
        f"{engine.name} ({engine.manifest.task}, {engine.variant} on {engine.provider}, "
        f"{engine.capacity})"
        for engine in engines
    )
    return f"semserve {__version__} serving on {address}: {served}"
