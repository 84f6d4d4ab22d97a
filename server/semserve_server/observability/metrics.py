"""Every count and time as Prometheus metrics, made when they are asked for.

Labels are names of ours alone: of RPCs, status codes, causes, and of the bundles that are served.
Nothing that a caller sends becomes one, so there are never more series than those multiply to.
"""

from __future__ import annotations

import contextlib
import platform
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from itertools import accumulate
from typing import get_args

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from semserve_server import __version__
from semserve_server.engine import Engine
from semserve_server.errors import Cause, ConfigError, NotReady
from semserve_server.instrumentation.counters import Histogram, MethodCounters, ModelCounters
from semserve_server.observability.recorder import Recorder
from semserve_server.observability.stderr import dropped_lines
from semserve_server.registry.registry import Models
from semserve_server.runtime.worker_threads import Kind, Workers
from semserve_server.system.listen_address import host_port

Labels = tuple[str, ...]

MODEL = ("model",)
_BUILD = {
    "version": __version__,
    "python": platform.python_version(),
    "grpcio": metadata.version("grpcio"),
}


@contextlib.contextmanager
def serving_metrics(address: str, observer: Recorder, models: Models) -> Iterator[str]:
    """Answer scrapes on threads of their own; yields the URL to scrape.

    Args:
        address: HOST:PORT; port 0 takes a free one.
        observer: what all RPCs did.
        models: what is loaded.

    Raises:
        ConfigError: the address cannot be bound.
    """
    host, port = host_port("--metrics-address", address)
    registry = CollectorRegistry()
    registry.register(Metrics(observer, models))
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
    """Reads the tallies when Prometheus asks."""

    def __init__(self, observer: Recorder, models: Models) -> None:
        self._observer = observer
        self._models = models

    def collect(self) -> Iterator[Metric]:
        """Yield every metric as it stands."""
        yield _gauge("build_info", "What runs.", tuple(_BUILD), {tuple(_BUILD.values()): 1})
        yield from _methods(self._observer.methods)
        engines = self._engines()
        shed: dict[Labels, float] = {
            (engine.name, cause): 0 for engine in engines for cause in get_args(Cause)
        }
        shed.update(self._observer.shed.copy().items())
        yield _counter(
            "shed_requests",
            "Requests refused with RESOURCE_EXHAUSTED, by what there was too much of.",
            ("model", "cause"),
            shed,
        )
        usage = dict(self._observer.usage)
        yield _counter(
            "key_requests",
            "Requests with a key that have ended, by the key's name in the key file.",
            ("key", "code"),
            _by_key({(name,): one.codes for name, one in usage.items()}),
        )
        yield _counter(
            "key_tokens",
            "Tokens of the texts that ran for a key.",
            ("key",),
            {(name,): one.tokens for name, one in usage.items()},
        )
        yield _histogram(
            "event_loop_lag_seconds",
            "How late the event loop is; what arrives waits as long before anything sees it.",
            (),
            {(): self._observer.loop_lag},
        )
        yield _gauge("models_loaded", "Models that are served.", (), {(): len(engines)})
        yield _gauge(
            "bundles_refused",
            "Bundles on the disk that are not served as they are now; the log says why.",
            (),
            {(): len(self._models.refusals)},
        )
        yield _gauge(
            "workers_stalled",
            "Threads that hang, also those of models that are no longer served.",
            ("worker",),
            _hanging(self._models.workers),
        )
        yield _counter(
            "log_lines_dropped",
            "Log lines that were not written, since nobody reads standard error fast enough.",
            (),
            {(): dropped_lines()},
        )
        for name, (help_text, value) in self._observer.gauges.items():
            yield _gauge(name, help_text, (), {(): value()})
        yield from _engines(engines)
        yield from _tallies([engine.tally for engine in engines])

    def _engines(self) -> list[Engine]:
        try:
            return self._models.all()
        except NotReady:
            return []


def _methods(methods: Sequence[MethodCounters]) -> Iterator[Metric]:
    """Yield rate, errors and duration of every RPC."""
    labels = ("service", "method")
    named = {(one.service, one.name): one for one in methods}
    streams = {name: one.streams for name, one in named.items() if one.streaming}
    yield _counter(
        "requests",
        "Requests that have ended: unary calls, and messages of streams.",
        (*labels, "code"),
        _by_key({name: one.requests.codes for name, one in named.items()}),
    )
    yield _histogram(
        "request_duration_seconds",
        "From a request's arrival until its answer is ready.",
        labels,
        {name: one.seconds for name, one in named.items()},
    )
    yield _gauge(
        "requests_in_flight",
        "Requests that are being answered.",
        labels,
        {name: one.requests.open for name, one in named.items()},
    )
    yield _counter(
        "unread_requests",
        "Unary calls that ended before their message was read: it was larger than allowed, could "
        "not be decompressed, or its caller left.",
        labels,
        {name: one.unread for name, one in named.items() if not one.streaming},
    )
    yield _counter(
        "streams",
        "Streams that have ended.",
        (*labels, "code"),
        _by_key({name: one.codes for name, one in streams.items()}),
    )
    yield _gauge(
        "streams_open",
        "Streams that have not ended.",
        labels,
        {name: one.open for name, one in streams.items()},
    )


def _engines(engines: Sequence[Engine]) -> Iterator[Metric]:
    """Yield what each model is, and how it stands now."""
    yield _gauge(
        "model_info",
        "A model that is served: which graph of which bundle, and where it runs.",
        ("model", "task", "variant", "provider", "digest"),
        {
            (one.name, one.manifest.task, one.variant, one.provider, one.digest): 1
            for one in engines
        },
    )
    gauges: dict[str, tuple[str, Callable[[Engine], float]]] = {
        "model_stalled": ("1 where the watchdog saw that it hangs.", lambda one: one.stalled),
        "lanes": ("Runs that may go side by side.", lambda one: one.capacity.lanes),
        "lanes_busy": ("Runs that are going.", lambda one: len(one.runs())),
        "queue_entries": ("Texts that wait to run.", lambda one: one.waiting.entries),
        "queue_entries_limit": (
            "Most texts that may wait.", lambda one: one.capacity.max_queue_entries,
        ),
        "queue_tokens": ("Tokens that wait to run.", lambda one: one.waiting.tokens),
        "queue_tokens_limit": (
            "Most tokens that may wait.", lambda one: one.capacity.max_queue_tokens,
        ),
    }  # fmt: skip
    for name, (help_text, value) in gauges.items():
        yield _gauge(name, help_text, MODEL, {(one.name,): value(one) for one in engines})


def _tallies(models: Sequence[ModelCounters]) -> Iterator[Metric]:
    """Yield what each model has done."""
    histograms: dict[str, tuple[str, Callable[[ModelCounters], Histogram]]] = {
        "tokenize_duration_seconds": (
            "Reading the texts of a request.", lambda one: one.tokenize_seconds,
        ),
        "queue_duration_seconds": (
            "From a request's admission until its last text was taken to run.",
            lambda one: one.queue_seconds,
        ),
        "score_duration_seconds": (
            "From a request's vectors until its scores are written.", lambda one: one.score_seconds,
        ),
        "run_duration_seconds": ("A run of a batch.", lambda one: one.run_seconds),
        "batch_entries": ("Texts of a batch.", lambda one: one.batch_entries),
    }  # fmt: skip
    for name, (help_text, histogram) in histograms.items():
        yield _histogram(name, help_text, MODEL, {(one.name,): histogram(one) for one in models})
    counters: dict[str, tuple[str, Callable[[ModelCounters], float]]] = {
        "tokens": ("Tokens of the texts that ran.", lambda one: one.tokens),
        "padded_tokens": (
            "Tokens computed for them: their batches' texts times the longest.",
            lambda one: one.padded_tokens,
        ),
        "tokenized_tokens": ("Tokens that Tokenize has told.", lambda one: one.tokenized),
        "scores": (
            "Scores that Compare, Rank, Search and Matrix have computed.", lambda one: one.scores,
        ),
        "failed_entries": ("Texts whose run failed.", lambda one: one.failed_entries),
    }  # fmt: skip
    for name, (help_text, value) in counters.items():
        yield _counter(name, help_text, MODEL, {(one.name,): value(one) for one in models})
    yield _counter(
        "dropped_entries",
        "Texts that were admitted and never ran, by cause.",
        ("model", "cause"),
        _by_key({(one.name,): one.dropped for one in models}),
    )


def _hanging(workers: Workers) -> dict[Labels, float]:
    """Count the threads that hang, by what they do."""
    hanging = Counter(one.kind for one in workers.hanging())
    return {(kind,): hanging[kind] for kind in get_args(Kind)}


def _by_key(counts: Mapping[Labels, Counter[str]]) -> dict[Labels, float]:
    """Make one value a key of each counter; copies, since the event loop may add keys meanwhile."""
    return {(*labels, key): n for labels, one in counts.items() for key, n in one.copy().items()}


def _counter(
    name: str, help_text: str, labels: Labels, values: Mapping[Labels, float]
) -> CounterMetricFamily:
    family = CounterMetricFamily(f"semserve_{name}", help_text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _gauge(
    name: str, help_text: str, labels: Labels, values: Mapping[Labels, float]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"semserve_{name}", help_text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _histogram(
    name: str, help_text: str, labels: Labels, values: Mapping[Labels, Histogram]
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(f"semserve_{name}", help_text, labels=labels)
    for key, histogram in values.items():
        bounds = [*map(floatToGoString, histogram.bounds), "+Inf"]
        buckets = list(zip(bounds, accumulate(histogram.counts[:]), strict=True))
        family.add_metric(key, buckets, histogram.sum)
    return family
