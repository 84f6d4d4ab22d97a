"""Instruments every RPC: each request is named, timed, counted and traced."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Protocol

import grpc

from semserve_server.instrumentation.counters import MethodCounters
from semserve_server.instrumentation.request_context import CallMetadata, RequestContext
from semserve_server.observability.recorder import Recorder
from semserve_server.rpc.handlers import Context, Handler, Handlers
from semserve_server.rpc.open_calls import OpenCalls
from semserve_server.rpc.status import abort_unknown

_MESSAGE: ContextVar[_Message] = ContextVar("message")
"""The message of the present call, if the call has exactly one."""


def instrumented(
    service: str, handlers: Handlers, recorder: Recorder, calls: OpenCalls | None = None
) -> Handlers:
    """Return the handlers of a service, instrumented.

    Args:
        service: full name of the service.
        handlers: its RPCs.
        recorder: gets each request when it ends.
        calls: counts the calls in progress; without it, they are not counted.
    """
    return {
        name: _instrumented(
            handler,
            recorder.method(service, name, streaming=bool(handler.response_streaming)),
            recorder,
            calls,
        )
        for name, handler in handlers.items()
    }


def unknown(recorder: Recorder) -> Handler:
    """Create the handler of all unknown methods, which are counted as one method."""

    async def answer(_messages: object, context: Context) -> None:
        await abort_unknown(context)

    # A stream's handler, because the handler of a unary call runs only after the request was read.
    handler: Handler = grpc.stream_stream_rpc_method_handler(answer)
    return _instrumented(handler, recorder.method("semserve", "unknown", streaming=False), recorder)


class Gate(Protocol):
    """Decides for one unary method whether a call is handled before its message is read."""

    def expected(self) -> bool:
        """Return whether the next call will probably be refused."""

    def handler(self, unary: Handler) -> Handler:
        """Create the handler, a stream's, of calls that will probably be refused."""


class Methods(grpc.GenericRpcHandler):
    """All methods of the server, by path."""

    def __init__(
        self,
        services: Mapping[str, Handlers],
        drainable_services: Mapping[str, Handlers],
        recorder: Recorder,
        calls: OpenCalls,
        gates: Mapping[str, Gate] = MappingProxyType({}),
    ) -> None:
        """Register every service.

        Args:
            services: uninstrumented handlers by full name, of services whose calls a drain waits
                for.
            drainable_services: the same for health and reflection, whose streams a drain ends.
            recorder: gets every request.
            calls: counts the calls of `services` that are in progress.
            gates: decide for unary methods, by path.
        """
        self._unknown = unknown(recorder)
        watching = [instrumented(name, each, recorder, calls) for name, each in services.items()]
        watching += [
            instrumented(name, each, recorder) for name, each in drainable_services.items()
        ]
        self._handlers = {
            f"/{service}/{name}": handler
            for service, handlers in zip((*services, *drainable_services), watching, strict=True)
            for name, handler in handlers.items()
        }
        self._method_counters = {f"/{one.service}/{one.name}": one for one in recorder.methods}
        self._gates: dict[str, tuple[Gate, Handler]] = {}
        for path, gate in gates.items():
            service, name = path.removeprefix("/").split("/")
            handler = gate.handler(services[service][name])
            counters = self._method_counters[path]
            self._gates[path] = gate, _instrumented(handler, counters, recorder, calls)

    def find(self, path: str) -> Handler:
        """Return the handler of a method, whether the method exists or not."""
        if path in self._gates:
            gate, refusing = self._gates[path]
            if gate.expected():
                return refusing
        return self._handlers.get(path, self._unknown)

    def is_stream(self, path: str) -> bool:
        """Return whether callers send a stream to a method, as far as is known."""
        return bool(self._handlers.get(path, self._unknown).request_streaming)

    def count_unread(self, path: str) -> None:
        """Count a call with one message that has ended before its message arrived."""
        self._method_counters[path].unread += 1

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """Return the handler of a call, for `grpc.aio`."""
        path = handler_call_details.method
        handler = self.find(path)
        task = asyncio.current_task()
        if not handler.request_streaming and task is not None:
            # gRPC runs the handler in the task that asks for it.
            message = _Message(self._method_counters[path])
            _MESSAGE.set(message)
            task.add_done_callback(message.ended)
        return handler


class _Message:
    """The message of a call with one message. Counts a call that ends before the message arrived.

    gRPC itself ends a call with a message that is too large, and calls no handler.
    """

    __slots__ = ("_counters", "read")

    def __init__(self, counters: MethodCounters) -> None:
        self._counters = counters
        self.read = False

    def ended(self, _task: object) -> None:
        """Note that the call has ended."""
        if not self.read:
            self._counters.unread += 1


def _instrumented(
    handler: Handler, method: MethodCounters, recorder: Recorder, calls: OpenCalls | None = None
) -> Handler:
    answer: Any = handler.stream_stream or handler.unary_stream or handler.unary_unary

    # One handler for all kinds of RPC: the handler of a stream uses the context and returns
    # nothing.
    async def handle(request: Any, context: Context) -> Any:
        if calls is not None:
            calls.add(context)
        if message := _MESSAGE.get(None):
            message.read = True
        caller = CallMetadata(context.invocation_metadata() or ())
        context.set_trailing_metadata((caller.trailer,))
        with RequestContext(
            method, caller, context.time_remaining, recorder.ended, is_stream=method.streaming
        ) as one:
            if calls is not None and calls.is_one() and not method.streaming:
                one.is_alone = calls.is_one
            return await answer(request, context)

    make: Callable[..., Handler] = grpc.unary_unary_rpc_method_handler
    if handler.stream_stream:
        make = grpc.stream_stream_rpc_method_handler
    elif handler.unary_stream:
        make = grpc.unary_stream_rpc_method_handler
    return make(
        handle,
        request_deserializer=handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )
