"""Each request as OpenTelemetry spans, exported by OTLP. Imported only where that is asked for.

A span is made when its request has ended, with the times that it had, so that a request that is
not traced costs nothing and one that is costs nobody else while it runs. The SDK's own variables,
such as `OTEL_SERVICE_NAME` and `OTEL_EXPORTER_OTLP_HEADERS`, mean what its documents say.
"""

from __future__ import annotations

from time import perf_counter, time_ns

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from semserve_server import __version__
from semserve_server.instrumentation.request_context import RequestContext

EXPORT_SECONDS = 5
"""Most seconds that one export may take, and so the last one when the server ends."""
FAULTS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE"})
"""Codes that make a server's span an error, by OpenTelemetry's conventions for gRPC."""


class Tracing:
    """Makes spans of requests, and sends them in the background."""

    def __init__(self, endpoint: str, *, fraction: float) -> None:
        """Start to export.

        Args:
            endpoint: of an OTLP collector that speaks gRPC, such as http://127.0.0.1:4317; with
                https it is spoken to by TLS.
            fraction: of the requests whose caller does not say whether to trace them. A caller
                that says so in its `traceparent` is obeyed.
        """
        self._propagator = TraceContextTextMapPropagator()
        service = Resource({"service.name": "semserve", "service.version": __version__})
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(fraction)),
            resource=service.merge(OTELResourceDetector().detect()),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(OTLPSpanExporter(endpoint, timeout=EXPORT_SECONDS))
        )
        self._tracer = self._provider.get_tracer("semserve_server", __version__)

    def trace(self, request: RequestContext) -> None:
        """Make the spans of a request that has ended: its own, and its stages'."""
        clock = _Clock()
        span = self._tracer.start_span(
            str(request.method),
            context=self._propagator.extract({"traceparent": request.metadata.traceparent}),
            kind=SpanKind.SERVER,
            start_time=clock.epoch(request.started),
        )
        if not span.is_recording():
            return
        span.set_attributes(_attributes(request))
        if request.code in FAULTS:
            span.set_status(StatusCode.ERROR)
        self._stages(span, request, clock)
        span.end(clock.epoch(request.started + request.seconds))

    def close(self) -> None:
        """Export what has not been exported yet; waits for the collector, within a bound."""
        self._provider.shutdown()

    def _stages(self, span: Span, request: RequestContext, clock: _Clock) -> None:
        """Draw what the request waited for.

        Of a request that ran in several batches, the queue's span ends when the last was taken,
        and the longest run is drawn from there.
        """
        if request.tokenized is None:
            return
        context = set_span_in_context(span)
        began, admitted = request.tokenized
        self._stage("tokenize", context, clock.epoch(began), clock.epoch(admitted))
        if request.inference is not None:
            taken = admitted + request.inference.queue_seconds
            computed = taken + request.inference.compute_seconds
            self._stage("queue", context, clock.epoch(admitted), clock.epoch(taken))
            self._stage("compute", context, clock.epoch(taken), clock.epoch(computed))

    def _stage(self, name: str, context: Context, start: int, end: int) -> None:
        self._tracer.start_span(name, context=context, start_time=start).end(end)


class _Clock:
    """What `perf_counter` means in nanoseconds since 1970."""

    def __init__(self) -> None:
        self._offset = time_ns() - round(perf_counter() * 1e9)

    def epoch(self, instant: float) -> int:
        return self._offset + round(instant * 1e9)


def _attributes(request: RequestContext) -> dict[str, str | int]:
    attributes: dict[str, str | int] = {
        "rpc.system": "grpc",
        "rpc.service": request.method.service,
        "rpc.method": request.method.name,
        "rpc.response.status_code": request.code,
        "semserve.request_id": request.name,
    }
    if request.model is not None:
        attributes["semserve.model"] = request.model.name
    if request.inference is not None:
        attributes["semserve.texts"] = request.inference.texts
        attributes["semserve.tokens"] = request.inference.tokens
    return attributes
