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
        self.shed: Counter[tuple[str, str]] = Counter()
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

    def ended(self, exchange: RequestContext) -> None:
        """Take note of a request that has been answered, or that nobody waits for any more."""
        method = exchange.method
        if exchange.whole_stream:
            method.streams.codes[exchange.code] += 1
            return
        method.requests.codes[exchange.code] += 1
        method.seconds.observe(exchange.seconds)
        holder = PRINCIPAL.get(None)
        if holder is not None:
            holder.usage.codes[exchange.code] += 1
            if exchange.inference is not None:
                holder.usage.tokens += exchange.inference.tokens
        if exchange.model is not None:
            _count(exchange.model, exchange)
        if exchange.shed:
            self.shed[exchange.model.name if exchange.model else "", exchange.shed] += 1
        if exchange.code == "INTERNAL":
            # The cause was logged where it arose, perhaps for a whole batch; this tells for whom.
            log.error("%s failed", method)
        if self._trace is not None:
            self._trace(exchange)
        if self._access_log:
            _log_access(exchange)


def _count(model: ModelCounters, exchange: RequestContext) -> None:
    """Count what a request asked of its model."""
    if exchange.tokenized is not None:
        began, ended = exchange.tokenized
        model.tokenize_seconds.observe(ended - began)
    if exchange.inference is not None:
        model.queue_seconds.observe(exchange.inference.queue_seconds)


def _log_access(exchange: RequestContext) -> None:
    """Log one line. A key is told by the name that the operator gave it."""
    fields: dict[str, object] = {
        "duration_ms": round(exchange.seconds * 1e3, 3),
    }
    holder = PRINCIPAL.get(None)
    if holder is not None and holder.key is not None:
        fields["key"] = holder.key.name
    if exchange.model is not None:
        fields["model"] = exchange.model.name
    if exchange.inference is not None:
        fields["texts"] = exchange.inference.texts
        fields["tokens"] = exchange.inference.tokens
    access.info("%s %s", exchange.method, exchange.code, extra={"fields": fields})
