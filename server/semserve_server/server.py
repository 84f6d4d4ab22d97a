"""Puts the parts together, serves until told to stop, and takes them apart in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator

from semserve_server import __version__
from semserve_server.auth.key_store import KeyStore
from semserve_server.config import Config
from semserve_server.engine import Engine
from semserve_server.errors import ConfigError, EngineFailed
from semserve_server.frontend.certificates import Certificates
from semserve_server.frontend.channel_arguments import ConnectionLimits
from semserve_server.frontend.grpc_server import GrpcServer
from semserve_server.frontend.security import Security
from semserve_server.observability.recorder import Recorder
from semserve_server.observability.setup import observing
from semserve_server.registry.model_manager import ModelManager
from semserve_server.registry.registry import Models
from semserve_server.services.validation import Limits
from semserve_server.supervision.supervisor_channel import Parent
from semserve_server.supervision.watchdog import Watchdog, either
from semserve_server.system.file_limit import allow_connections
from semserve_server.system.listen_address import is_local
from semserve_server.system.memory import map_large_blocks

log = logging.getLogger(__name__)

FOREVER = 86_400.0
"""Seconds between looks at bundles that nobody has asked for."""


async def serve(config: Config, parent: Parent | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second one ends the drain.

    The order of the end: health to NOT_SERVING, wait for balancers, refuse new work, finish what
    was admitted within the bound, close the engines.

    Args:
        config: what is asked for.
        parent: who leads this process and others like it, and is told in place of the log.

    Raises:
        StartupError: a bundle or a setting cannot be served.
        EngineFailed: a worker died or a run did not return.
    """
    _check_limits(config)
    map_large_blocks()
    models = _models(config)
    async with observing(config, models) as recorder:
        await _serve(config, models, recorder, parent)
    log.info("stopped")


def _check_limits(config: Config) -> None:
    """Refuse a limit on requests that a limit on what waits could never admit.

    Raises:
        ConfigError: naming both.
    """
    bounds = (
        (
            ("--max-request-texts", config.max_request_texts),
            ("--max-queue-entries", config.max_queue_entries),
        ),
        (
            ("--max-request-scores", config.max_request_scores),
            ("--max-queue-scores", config.max_queue_scores),
        ),
    )
    for (name, most), (queue, room) in bounds:
        if most > room:
            raise ConfigError(f"{name} {most}: a queue of {queue} {room} could never admit so many")


async def _serve(config: Config, models: Models, recorder: Recorder, parent: Parent | None) -> None:
    stop, hurry, refresh = asyncio.Event(), asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def end() -> None:
        # Whoever signals a whole group signals the parent too, and its word may come first: only
        # the parent can tell a second signal.
        (hurry if stop.is_set() and parent is None else stop).set()

    for ending in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(ending, end)
    loop.add_signal_handler(signal.SIGHUP, refresh.set)
    if parent is not None:
        parent.obey({"stop": stop.set, "hurry": hurry.set, "refresh": refresh.set})
    control = ModelManager(config, models)
    models.control = control if config.allow_model_control else None
    port = _port(config, models, recorder)
    number = await port.open(config.address)
    try:
        await control.start(stop)
        if stop.is_set():
            return
        banner = _banner(config, number, models.all())
        if parent is None:
            log.info("%s", banner)
        else:
            parent.tell("serves", banner)
        async with _refreshing(control, refresh, config.reload_interval):
            watchdog = Watchdog(
                models, stall_timeout=config.stall_timeout, run_timeout=config.run_timeout
            )
            await _until_stopped(watchdog, port, stop)
        log.info("draining, for at most %g s", config.drain_timeout)
        port.tell_not_serving()
        control.stop()
        await either(hurry, config.drain_delay)
        draining = asyncio.create_task(port.drain(config.drain_timeout))
        await asyncio.wait(
            [draining, hurried := asyncio.create_task(hurry.wait())],
            return_when=asyncio.FIRST_COMPLETED,
        )
        hurried.cancel()
    finally:
        port.tell_not_serving()
        await port.drain(0)
        control.close()


async def _until_stopped(watchdog: Watchdog, port: GrpcServer, stop: asyncio.Event) -> None:
    """Watch until the server is told to stop.

    Raises:
        EngineFailed: something hangs or has died, gRPC's own server among it.
    """
    watching = asyncio.create_task(watchdog.watch(stop))
    serving = asyncio.create_task(port.ended())
    try:
        await asyncio.wait([watching, serving], return_when=asyncio.FIRST_COMPLETED)
    finally:
        serving.cancel()
        if not watching.done():
            watching.cancel()
            await asyncio.wait([watching])
    if watching.cancelled():
        raise EngineFailed("gRPC's server has stopped by itself; the log above says why")
    watching.result()


@contextlib.asynccontextmanager
async def _refreshing(
    control: ModelManager, asked: asyncio.Event, interval: float
) -> AsyncIterator[None]:
    """Look for bundles that have changed when asked, and every so often unless that is 0."""

    async def refresh() -> None:
        while True:
            again = await either(asked, interval or FOREVER)
            asked.clear()
            try:
                await control.refresh(again=again)
            except Exception:
                log.exception("looking for changed bundles failed. This is a bug.")

    refreshing = asyncio.create_task(refresh())
    try:
        yield
    finally:
        refreshing.cancel()


def _models(config: Config) -> Models:
    return Models(
        defaults={
            "embedding": config.default_embedder,
            "classification": config.default_classifier,
        }
    )


def _port(config: Config, models: Models, recorder: Recorder) -> GrpcServer:
    return GrpcServer(
        models,
        Limits(
            max_texts=config.max_request_texts,
            max_text_bytes=config.max_text_bytes,
            max_scores=config.max_request_scores,
            max_tokenize_bytes=config.max_tokenize_bytes,
        ),
        ConnectionLimits(
            max_message_bytes=config.max_message_bytes,
            max_stream_requests=config.max_stream_requests,
            max_stream_bytes=config.max_stream_bytes,
            max_unread_bytes=config.max_unread_bytes,
            max_stream_unread_bytes=config.max_stream_unread_bytes,
            max_queue_scores=config.max_queue_scores,
            max_calls=config.max_calls,
            max_connections=_connections(config),
            max_connection_calls=config.max_connection_calls,
            max_connection_idle=config.max_connection_idle,
            max_connection_age=config.max_connection_age,
            max_connection_age_grace=config.max_connection_age_grace,
            keepalive_time=config.keepalive_time,
            keepalive_timeout=config.keepalive_timeout,
            handshake_timeout=config.handshake_timeout,
            shares_port=config.processes > 1,
        ),
        recorder=recorder,
        security=_security(config),
    )


def _connections(config: Config) -> int:
    allowed = allow_connections(config.max_connections)
    if allowed < config.max_connections:
        log.warning(
            "--max-connections %d: the limit of open files allows %d; see `ulimit -n`",
            config.max_connections,
            allowed,
        )
    return allowed


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
    key_store = (
        KeyStore(config.api_key_file, processes=config.processes) if config.api_key_file else None
    )
    if key_store and not certificates and not is_local(config.address):
        log.warning(
            "--api-key-file without --tls-certificate: keys travel to %s without encryption",
            config.address,
        )
    return Security(
        certificates=certificates,
        key_store=key_store,
        auth_exempt_health=config.auth_exempt_health,
        auth_exempt_reflection=config.auth_exempt_reflection,
    )


def _banner(config: Config, port: int, engines: list[Engine]) -> str:
    host = config.address.rpartition(":")[0]
    address = config.address if config.address.startswith("unix:") else f"{host}:{port}"
    served = ", ".join(
        f"{engine.name} ({engine.manifest.task}, {engine.variant} on {engine.provider}, "
        f"{engine.capacity})"
        for engine in engines
    )
    several = f" in {config.processes} processes" if config.processes > 1 else ""
    return f"semserve {__version__}{several} serving on {address}: {served}"
