"""Processes the end of every request: counts it, traces it, and writes the access log."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType

from semserve_server.auth.key_store import PRINCIPAL
from semserve_server.instrumentation.counters import (
    SECONDS,
    Histogram,
    KeyCounters,
    MethodCounters,
    ModelCounters,
)
from semserve_server.instrumentation.request_context import RequestContext

log = logging.getLogger(__name__)
access = logging.getLogger("semserve_server.access")


class Recorder:
    """The counters of every RPC, and what happens when a request ends."""

    def __init__(
        self, *, trace: Callable[[RequestContext], None] | None = None, access_log: bool = False
    ) -> None:
        """Create a recorder.

        Args:
            trace: called with each request that has ended, to export its spans.
            access_log: whether each request is logged.
        """
        self.methods: list[MethodCounters] = []
        """Counters of all RPCs. `method` adds them before the server starts."""
        self.rejected: Counter[tuple[str, str]] = Counter()
        """Requests rejected for overload, by model (if known) and cause."""
        self.gauges: dict[str, tuple[str, Callable[[], float]]] = {}
        """Gauges: the help text and a function that returns the value, by the metric's name.
        Filled before the server starts; read on another thread."""
        self.usage: Mapping[str, KeyCounters] = MappingProxyType({})
        """Usage of each key of the key file; empty without a key file."""
        self.loop_lag = Histogram(SECONDS)
        """Lag of the event loop's timers, in seconds."""
        self._trace = trace
        self._access_log = access_log

    def method(self, service: str, name: str, *, streaming: bool) -> MethodCounters:
        """Create the counters of an RPC."""
        self.methods.append(MethodCounters(service, name, streaming=streaming))
        return self.methods[-1]

    def ended(self, request: RequestContext) -> None:
        """Count, trace and log a request that has ended."""
        method = request.method
        if request.is_stream:
            method.streams.codes[request.code] += 1
            return
        method.requests.codes[request.code] += 1
        method.seconds.observe(request.seconds)
        principal = PRINCIPAL.get(None)
        if principal is not None:
            principal.usage.codes[request.code] += 1
            if request.inference is not None:
                principal.usage.tokens += request.inference.tokens
        if request.model is not None:
            _count(request.model, request)
        if request.rejected:
            self.rejected[request.model.name if request.model else "", request.rejected] += 1
        if request.code == "INTERNAL":
            # The cause was logged where it arose, perhaps for a whole batch. This line has the
            # request's name.
            log.error("%s failed", method)
        if self._trace is not None:
            self._trace(request)
        if self._access_log:
            _log_access(request)


def _count(model: ModelCounters, request: RequestContext) -> None:
    """Count the times of a request for its model."""
    if request.tokenized is not None:
        began, ended = request.tokenized
        model.tokenize_seconds.observe(ended - began)
    if request.inference is not None:
        model.queue_seconds.observe(request.inference.queue_seconds)


def _log_access(request: RequestContext) -> None:
    """Write one line to the access log. A key appears by its name."""
    fields: dict[str, object] = {
        "duration_ms": round(request.seconds * 1e3, 3),
    }
    principal = PRINCIPAL.get(None)
    if principal is not None and principal.key is not None:
        fields["key"] = principal.key.name
    if request.model is not None:
        fields["model"] = request.model.name
    if request.inference is not None:
        fields["texts"] = request.inference.texts
        fields["tokens"] = request.inference.tokens
    access.info("%s %s", request.method, request.code, extra={"fields": fields})
