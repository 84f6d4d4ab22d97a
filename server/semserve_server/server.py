"""Assembles the parts, serves until a signal, and shuts down in order."""

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
from semserve_server.facades.registration import Facades
from semserve_server.frontend.certificates import Certificates
from semserve_server.frontend.channel_arguments import ConnectionLimits
from semserve_server.frontend.grpc_server import GrpcServer
from semserve_server.frontend.security import Security
from semserve_server.observability.recorder import Recorder
from semserve_server.observability.setup import observability
from semserve_server.registry.defaults import default_models
from semserve_server.registry.model_manager import ModelManager
from semserve_server.registry.registry import ModelRegistry
from semserve_server.request_checks import Limits, check_limits
from semserve_server.supervision.supervisor_channel import SupervisorChannel
from semserve_server.supervision.watchdog import Watchdog, wait_or_timeout
from semserve_server.system.file_limit import allow_connections
from semserve_server.system.listen_address import is_local
from semserve_server.system.memory import map_large_blocks

log = logging.getLogger(__name__)

FOREVER = 86_400.0
"""Seconds between scans of the bundles if `--reload-interval` is 0. SIGHUP starts one sooner."""


async def serve(config: Config, supervisor: SupervisorChannel | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then drain. A second signal ends the drain.

    The order of the shutdown: health to NOT_SERVING, wait for load balancers, refuse new work,
    finish admitted work within the time limit, close the engines.

    Args:
        config: the settings.
        supervisor: channel to the supervisor of this worker process. It gets the start banner,
            which otherwise goes to the log.

    Raises:
        StartupError: a bundle or a setting is invalid.
        EngineFailed: a batch worker died or a run did not return.
    """
    check_limits(config)
    map_large_blocks()
    models = ModelRegistry(defaults=default_models(config))
    async with observability(config, models) as recorder:
        await _serve(config, models, recorder, supervisor)
    log.info("stopped")


async def _serve(
    config: Config, models: ModelRegistry, recorder: Recorder, supervisor: SupervisorChannel | None
) -> None:
    stop, force_stop, refresh = asyncio.Event(), asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def end() -> None:
        # A signal to the process group reaches the supervisor too, and the supervisor's order may
        # arrive first. So in a worker process only the supervisor can report a second signal.
        (force_stop if stop.is_set() and supervisor is None else stop).set()

    for ending in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(ending, end)
    loop.add_signal_handler(signal.SIGHUP, refresh.set)
    if supervisor is not None:
        supervisor.handle_orders(
            {"stop": stop.set, "force_stop": force_stop.set, "refresh": refresh.set}
        )
    model_manager = ModelManager(config, models)
    models.control = model_manager if config.allow_model_control else None
    grpc_server = new_grpc_server(config, models, recorder)
    port = await grpc_server.open(config.address)
    try:
        await model_manager.start(stop)
        if stop.is_set():
            return
        banner = _banner(config, port, models.all())
        if supervisor is None:
            log.info("%s", banner)
        else:
            supervisor.send("serves", banner)
        async with _refreshing(model_manager, refresh, config.reload_interval):
            watchdog = Watchdog(
                models, stall_timeout=config.stall_timeout, run_timeout=config.run_timeout
            )
            await _until_stopped(watchdog, grpc_server, stop)
        log.info("draining, for at most %g s", config.drain_timeout)
        grpc_server.set_not_serving()
        model_manager.stop()
        await wait_or_timeout(force_stop, config.drain_delay)
        draining = asyncio.create_task(grpc_server.drain(config.drain_timeout))
        await asyncio.wait(
            [draining, forced := asyncio.create_task(force_stop.wait())],
            return_when=asyncio.FIRST_COMPLETED,
        )
        forced.cancel()
    finally:
        grpc_server.set_not_serving()
        await grpc_server.drain(0)
        model_manager.close()


async def _until_stopped(watchdog: Watchdog, grpc_server: GrpcServer, stop: asyncio.Event) -> None:
    """Run the watchdog until the server must stop.

    Raises:
        EngineFailed: a thread hangs or died, or gRPC's server ended.
    """
    watching = asyncio.create_task(watchdog.watch(stop))
    serving = asyncio.create_task(grpc_server.ended())
    try:
        await asyncio.wait([watching, serving], return_when=asyncio.FIRST_COMPLETED)
    finally:
        serving.cancel()
        if not watching.done():
            watching.cancel()
            await asyncio.wait([watching])
    if watching.cancelled():
        raise EngineFailed("gRPC's server has stopped; see the log lines above")
    watching.result()


@contextlib.asynccontextmanager
async def _refreshing(
    model_manager: ModelManager, requested: asyncio.Event, interval: float
) -> AsyncIterator[None]:
    """Scan for changed bundles when `requested` is set, and every `interval` seconds (0: never)."""

    async def refresh() -> None:
        while True:
            again = await wait_or_timeout(requested, interval or FOREVER)
            requested.clear()
            try:
                await model_manager.refresh(again=again)
            except Exception:
                log.exception("scanning for changed bundles failed. This is a bug.")

    refreshing = asyncio.create_task(refresh())
    try:
        yield
    finally:
        refreshing.cancel()


def new_grpc_server(config: Config, models: ModelRegistry, recorder: Recorder) -> GrpcServer:
    """Assemble the gRPC server of a configuration. It is not open yet."""
    return GrpcServer(
        models,
        Limits.of(config),
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
        facades=Facades(
            open_inference=config.open_inference,
            text_embeddings_inference=config.text_embeddings_inference,
            openai_embeddings=config.openai_embeddings,
        ),
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
    """Load certificates and keys, if the settings name any.

    Raises:
        ConfigError: a file is invalid, or a flag needs another one.
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
