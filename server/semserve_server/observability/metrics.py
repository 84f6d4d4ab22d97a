"""The Prometheus metrics, computed at each scrape from the counters.

Label values are names of RPCs, status codes, causes, API keys and served models. No label value
comes from a request, so callers cannot add series.
"""

from __future__ import annotations

import contextlib
import platform
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from typing import get_args

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, start_http_server
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from semserve_server import __version__
from semserve_server.engine import Engine
from semserve_server.errors import Cause, ConfigError, NotReady
from semserve_server.instrumentation.counters import Histogram, MethodCounters, ModelCounters
from semserve_server.observability.metric_families import (
    Labels,
    by_label,
    counter,
    gauge,
    histogram,
)
from semserve_server.observability.recorder import Recorder
from semserve_server.observability.stderr import dropped_lines
from semserve_server.registry.registry import ModelRegistry
from semserve_server.runtime.worker_threads import Workers, WorkKind
from semserve_server.system.listen_address import host_port

MODEL = ("model",)
_BUILD = {
    "version": __version__,
    "python": platform.python_version(),
    "grpcio": metadata.version("grpcio"),
}


@contextlib.contextmanager
def serving_metrics(address: str, recorder: Recorder, models: ModelRegistry) -> Iterator[str]:
    """Serve the metrics over HTTP, on threads of their own. Yields the URL.

    Args:
        address: HOST:PORT; port 0 takes a free port.
        recorder: the counters of all RPCs.
        models: the loaded models.

    Raises:
        ConfigError: the address cannot be bound.
    """
    host, port = host_port("--metrics-address", address)
    registry = CollectorRegistry()
    registry.register(Metrics(recorder, models))
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    try:
        server, thread = start_http_server(port, host.strip("[]"), registry)
    except OSError as error:
        raise ConfigError(f"--metrics-address {address}: cannot listen there: {error}") from error
    try:
        yield f"http://{host}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Metrics(Collector):
    """A collector that reads the counters at each scrape."""

    def __init__(self, recorder: Recorder, models: ModelRegistry) -> None:
        self._recorder = recorder
        self._models = models

    def collect(self) -> Iterator[Metric]:
        """Yield every metric with its present value."""
        yield gauge(
            "build_info",
            "Versions of the server, Python and grpcio.",
            tuple(_BUILD),
            {tuple(_BUILD.values()): 1},
        )
        yield from _methods(self._recorder.methods)
        engines = self._engines()
        rejected: dict[Labels, float] = {
            (engine.name, cause): 0 for engine in engines for cause in get_args(Cause)
        }
        rejected.update(self._recorder.rejected.copy().items())
        yield counter(
            "requests_rejected",
            "Requests rejected with RESOURCE_EXHAUSTED, by the limit that they exceeded.",
            ("model", "cause"),
            rejected,
        )
        usage = dict(self._recorder.usage)
        yield counter(
            "key_requests",
            "Requests with an API key that have ended, by the key's name in the key file.",
            ("key", "code"),
            by_label({(name,): one.codes for name, one in usage.items()}),
        )
        yield counter(
            "key_tokens",
            "Tokens of the texts that ran for an API key.",
            ("key",),
            {(name,): one.tokens for name, one in usage.items()},
        )
        yield histogram(
            "event_loop_lag_seconds",
            "Delay of a timer of the event loop; a new call waits as long for its handler.",
            (),
            {(): self._recorder.loop_lag},
        )
        yield gauge("models_loaded", "Loaded models.", (), {(): len(engines)})
        yield gauge(
            "bundles_refused",
            "Bundles on the disk that failed to load; the log has the reason.",
            (),
            {(): len(self._models.refusals)},
        )
        yield gauge(
            "workers_stalled",
            "Worker threads that hang, including those of models that were unloaded.",
            ("kind",),
            _hanging(self._models.workers),
        )
        yield counter(
            "log_lines_dropped",
            "Log lines that were dropped because standard error was not read fast enough.",
            (),
            {(): dropped_lines()},
        )
        for name, (help_text, value) in self._recorder.gauges.items():
            yield gauge(name, help_text, (), {(): value()})
        yield from _states(engines)
        yield from _model_counters([engine.counters for engine in engines])

    def _engines(self) -> list[Engine]:
        try:
            return self._models.all()
        except NotReady:
            return []


def _methods(methods: Sequence[MethodCounters]) -> Iterator[Metric]:
    """Yield the rate, errors and duration of every RPC."""
    labels = ("service", "method")
    named = {(one.service, one.name): one for one in methods}
    streams = {name: one.streams for name, one in named.items() if one.streaming}
    yield counter(
        "requests",
        "Requests that have ended: unary calls and messages of streams.",
        (*labels, "code"),
        by_label({name: one.requests.codes for name, one in named.items()}),
    )
    yield histogram(
        "request_duration_seconds",
        "Time from the start of a request's handler until its reply is ready.",
        labels,
        {name: one.seconds for name, one in named.items()},
    )
    yield gauge(
        "requests_in_flight",
        "Requests that are being processed.",
        labels,
        {name: one.requests.open for name, one in named.items()},
    )
    yield counter(
        "requests_not_received",
        "Unary calls that ended before their message was received: it was too large, could not be "
        "decompressed, or the caller cancelled.",
        labels,
        {name: one.unread for name, one in named.items() if not one.streaming},
    )
    yield counter(
        "streams",
        "Streams that have ended.",
        (*labels, "code"),
        by_label({name: one.codes for name, one in streams.items()}),
    )
    yield gauge(
        "streams_open",
        "Open streams.",
        labels,
        {name: one.open for name, one in streams.items()},
    )


def _states(engines: Sequence[Engine]) -> Iterator[Metric]:
    """Yield the description and the present state of each model."""
    yield gauge(
        "model_info",
        "A loaded model: its bundle, its graph and its execution provider.",
        ("model", "task", "variant", "provider", "digest"),
        {
            (one.name, one.manifest.task, one.variant, one.provider, one.digest): 1
            for one in engines
        },
    )
    gauges: dict[str, tuple[str, Callable[[Engine], float]]] = {
        "model_stalled": ("1 if a worker thread of the model hangs.", lambda one: one.stalled),
        "batch_workers": (
            "Batches that can run at the same time.", lambda one: one.capacity.workers,
        ),
        "batch_workers_busy": ("Batches that are running.", lambda one: len(one.runs())),
        "queue_entries": ("Texts in the batch queue.", lambda one: one.waiting.entries),
        "queue_entries_limit": (
            "Most texts in the batch queue.", lambda one: one.capacity.max_queue_entries,
        ),
        "queue_tokens": ("Tokens in the batch queue.", lambda one: one.waiting.tokens),
        "queue_tokens_limit": (
            "Most tokens in the batch queue.", lambda one: one.capacity.max_queue_tokens,
        ),
    }  # fmt: skip
    for name, (help_text, value) in gauges.items():
        yield gauge(name, help_text, MODEL, {(one.name,): value(one) for one in engines})


def _model_counters(models: Sequence[ModelCounters]) -> Iterator[Metric]:
    """Yield the counters and histograms of each model."""
    histograms: dict[str, tuple[str, Callable[[ModelCounters], Histogram]]] = {
        "tokenize_duration_seconds": (
            "Time to tokenise the texts of a request.", lambda one: one.tokenize_seconds,
        ),
        "queue_duration_seconds": (
            "Time from a request's admission until its last text left the queue.",
            lambda one: one.queue_seconds,
        ),
        "score_duration_seconds": (
            "Time from a request's vectors until its scores are written.",
            lambda one: one.score_seconds,
        ),
        "run_duration_seconds": ("Time to run a batch.", lambda one: one.run_seconds),
        "batch_entries": ("Texts in a batch.", lambda one: one.batch_entries),
    }  # fmt: skip
    for name, (help_text, read) in histograms.items():
        yield histogram(name, help_text, MODEL, {(one.name,): read(one) for one in models})
    counters: dict[str, tuple[str, Callable[[ModelCounters], float]]] = {
        "tokens": ("Tokens of the texts that ran.", lambda one: one.tokens),
        "padded_tokens": (
            "Tokens that ran including padding: texts of a batch times the longest text.",
            lambda one: one.padded_tokens,
        ),
        "tokenized_tokens": ("Tokens that Tokenize has returned.", lambda one: one.tokenized),
        "scores": (
            "Scores that Compare, Rank, Search and Matrix have computed.", lambda one: one.scores,
        ),
        "entries_failed": ("Texts whose run failed.", lambda one: one.failed_entries),
        "worker_idle_seconds": (
            "Time in which a batch worker was free while texts waited.",
            lambda one: one.worker_idle_seconds,
        ),
    }  # fmt: skip
    for name, (help_text, value) in counters.items():
        yield counter(name, help_text, MODEL, {(one.name,): value(one) for one in models})
    yield counter(
        "entries_dropped",
        "Texts that were admitted and did not run, by cause.",
        ("model", "cause"),
        by_label({(one.name,): one.dropped for one in models}),
    )


def _hanging(workers: Workers) -> dict[Labels, float]:
    """Count the worker threads that hang, by the kind of their work."""
    hanging = Counter(one.kind for one in workers.hanging())
    return {(kind,): hanging[kind] for kind in get_args(WorkKind)}
