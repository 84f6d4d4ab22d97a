"""Sees every request end: counts it, traces it, and logs it where that is asked for."""

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
    """The counts of every RPC, and what is done when a request ends."""

    def __init__(
        self, *, trace: Callable[[RequestContext], None] | None = None, access_log: bool = False
    ) -> None:
        """Make one.

        Args:
            trace: given each request that has ended, to export its spans.
            access_log: whether each request is logged.
        """
        self.methods: list[MethodCounters] = []
        """All RPCs; filled by `method` before anything is served."""
        self.rejected: Counter[tuple[str, str]] = Counter()
        """Requests refused as too much: by the model, where that is known, and the cause."""
        self.gauges: dict[str, tuple[str, Callable[[], float]]] = {}
        """What the server holds now, by the name of the metric: its help text, and how to read it.
        Filled before anything is served; read on another thread."""
        self.usage: Mapping[str, KeyCounters] = MappingProxyType({})
        """What was asked with each key of the key file; empty where no keys are wanted."""
        self.loop_lag = Histogram(SECONDS)
        """How late the event loop was for what it should do at an instant, in seconds."""
        self._trace = trace
        self._access_log = access_log

    def method(self, service: str, name: str, *, streaming: bool) -> MethodCounters:
        """Make the counts of an RPC."""
        self.methods.append(MethodCounters(service, name, streaming=streaming))
        return self.methods[-1]

    def ended(self, request: RequestContext) -> None:
        """Take note of a request that has been answered, or that nobody waits for any more."""
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
            # The cause was logged where it arose, perhaps for a whole batch; this tells for whom.
            log.error("%s failed", method)
        if self._trace is not None:
            self._trace(request)
        if self._access_log:
            _log_access(request)


def _count(model: ModelCounters, request: RequestContext) -> None:
    """Count what a request asked of its model."""
    if request.tokenized is not None:
        began, ended = request.tokenized
        model.tokenize_seconds.observe(ended - began)
    if request.inference is not None:
        model.queue_seconds.observe(request.inference.queue_seconds)


def _log_access(request: RequestContext) -> None:
    """Log one line. A key is told by the name that the operator gave it."""
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
