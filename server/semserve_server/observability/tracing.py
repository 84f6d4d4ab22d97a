"""Requests as OpenTelemetry spans, exported by OTLP. Imported only if the settings ask for it.

A span is created when its request has ended, with the recorded times. So a request that is not
traced costs nothing, and tracing costs nothing while a request is processed. The SDK's variables,
such as `OTEL_SERVICE_NAME` and `OTEL_EXPORTER_OTLP_HEADERS`, apply as documented.
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
"""Most seconds of one export, and so of the last export at shutdown."""
FAULTS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE"})
"""Status codes that make a server span an error, by OpenTelemetry's conventions for gRPC."""


class Tracing:
    """Creates the spans of requests, and exports them in the background."""

    def __init__(self, endpoint: str, *, fraction: float) -> None:
        """Start the exporter.

        Args:
            endpoint: URL of an OTLP collector with gRPC, such as http://127.0.0.1:4317; https uses
                TLS.
            fraction: share of the requests to trace if the caller's `traceparent` does not decide.
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
        """Create the spans of a request that has ended: its own, and those of its stages."""
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
        """Export the remaining spans. Waits for the collector, with a time limit."""
        self._provider.shutdown()

    def _stages(self, span: Span, request: RequestContext, clock: _Clock) -> None:
        """Create the spans of the stages.

        If a request ran in several batches, the queue span ends when the last batch left the queue,
        and the compute span, of the longest run, starts there.
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
    """Converts `perf_counter` to nanoseconds since 1970."""

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
