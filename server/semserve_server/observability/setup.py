"""Starts and stops metrics and tracing, according to the settings."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable

from semserve_server.config import Config
from semserve_server.errors import ConfigError
from semserve_server.instrumentation.request_context import RequestContext
from semserve_server.observability.loop_lag import measuring_loop_lag
from semserve_server.observability.recorder import Recorder
from semserve_server.registry.registry import ModelRegistry

log = logging.getLogger(__name__)

EXPORT_SECONDS = 2.0
"""Most seconds that the shutdown waits for the export of spans."""


@contextlib.asynccontextmanager
async def observability(config: Config, models: ModelRegistry) -> AsyncIterator[Recorder]:
    """Create the recorder of all requests. At the end, remaining spans are exported.

    Raises:
        ConfigError: the metrics address cannot be bound, or OpenTelemetry is not installed.
    """
    async with contextlib.AsyncExitStack() as stack:
        trace = None
        if config.otlp_endpoint:
            trace = await stack.enter_async_context(_tracing(config))
        recorder = Recorder(trace=trace, access_log=config.access_log)
        if config.metrics_address:
            # A server without metrics does not import this, which takes 30 ms and 4 MiB.
            from semserve_server.observability.metrics import (  # noqa: PLC0415  (as said above)
                serving_metrics,
            )

            metrics = serving_metrics(config.metrics_address, recorder, models)
            log.info("metrics are at %s", stack.enter_context(metrics))
            stack.enter_context(measuring_loop_lag(recorder.loop_lag))
        yield recorder


@contextlib.asynccontextmanager
async def _tracing(config: Config) -> AsyncIterator[Callable[[RequestContext], None]]:
    try:
        from semserve_server.observability.tracing import Tracing  # noqa: PLC0415  (an extra)
    except ImportError as error:
        raise ConfigError(
            f"--otlp-endpoint needs OpenTelemetry: install semserve-server[otel] ({error})"
        ) from error
    tracing = Tracing(config.otlp_endpoint, fraction=config.trace_sample_ratio)
    try:
        yield tracing.trace
    finally:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.to_thread(tracing.close), EXPORT_SECONDS)
