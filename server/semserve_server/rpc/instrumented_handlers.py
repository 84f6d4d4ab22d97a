"""Puts a watch around every RPC: its request is named, timed, counted and traced."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any

import grpc

from semserve_server.instrumentation.counters import MethodCounters
from semserve_server.instrumentation.request_context import CallMetadata, RequestContext
from semserve_server.observability.recorder import Recorder
from semserve_server.rpc.handlers import Context, Handler, Handlers
from semserve_server.rpc.open_calls import OpenCalls
from semserve_server.rpc.status import abort_unknown

_MESSAGE: ContextVar[_Message] = ContextVar("message")
"""Of the call that is answered, where it has one message alone."""


def watched(
    service: str, handlers: Handlers, recorder: Recorder, calls: OpenCalls | None = None
) -> Handlers:
    """Return the handlers of a service so that `recorder` sees every request of theirs.

    Args:
        service: full name of the service.
        handlers: its RPCs.
        recorder: what each request is told to.
        calls: counts the calls that are being answered; none are counted where not given.
    """
    return {
        name: _watched(
            handler,
            recorder.method(service, name, streaming=bool(handler.response_streaming)),
            recorder,
            calls,
        )
        for name, handler in handlers.items()
    }


def unknown(recorder: Recorder) -> Handler:
    """Make the handler of all methods that there are not, which are counted as one."""

    async def answer(_messages: object, context: Context) -> None:
        await abort_unknown(context)

    # A stream's handler, since one of a unary call would be run only once a request is read.
    handler: Handler = grpc.stream_stream_rpc_method_handler(answer)
    return _watched(handler, recorder.method("semserve", "unknown", streaming=False), recorder)


class Methods(grpc.GenericRpcHandler):
    """All methods of the port, by their path."""

    def __init__(
        self,
        ours: Mapping[str, Handlers],
        theirs: Mapping[str, Handlers],
        recorder: Recorder,
        calls: OpenCalls,
    ) -> None:
        """Register every service.

        Args:
            ours: full name to handlers, not watched yet, of services that a drain waits for.
            theirs: the same of health and reflection, whose streams a drain ends.
            recorder: sees every request.
            calls: counts the calls of `ours` that are being answered.
        """
        self._unknown = unknown(recorder)
        watching = [watched(name, each, recorder, calls) for name, each in ours.items()]
        watching += [watched(name, each, recorder) for name, each in theirs.items()]
        self._handlers = {
            f"/{service}/{name}": handler
            for service, handlers in zip((*ours, *theirs), watching, strict=True)
            for name, handler in handlers.items()
        }
        self._method_counters = {f"/{one.service}/{one.name}": one for one in recorder.methods}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """Return what answers a call."""
        path = handler_call_details.method
        handler = self._handlers.get(path)
        if handler is None:
            return self._unknown
        task = asyncio.current_task()
        if not handler.request_streaming and task is not None:
            # gRPC answers a call in the same task that asks for its handler.
            message = _Message(self._method_counters[path])
            _MESSAGE.set(message)
            task.add_done_callback(message.ended)
        return handler


class _Message:
    """The one message of a call. Where the call ends before the handler has it, that is counted.

    gRPC itself ends a call whose message is larger than it may be, and tells no handler.
    """

    __slots__ = ("_counters", "read")

    def __init__(self, counters: MethodCounters) -> None:
        self._counters = counters
        self.read = False

    def ended(self, _task: object) -> None:
        """Take note that the call has ended."""
        if not self.read:
            self._counters.unread += 1


def _watched(
    handler: Handler, method: MethodCounters, recorder: Recorder, calls: OpenCalls | None = None
) -> Handler:
    answer: Any = handler.stream_stream or handler.unary_stream or handler.unary_unary

    # One for all shapes: a stream of ours reads and writes by its context, and returns nothing.
    async def handle(request: Any, context: Context) -> Any:
        if calls is not None:
            calls.add(context)
        if message := _MESSAGE.get(None):
            message.read = True
        caller = CallMetadata(context.invocation_metadata() or ())
        context.set_trailing_metadata((caller.trailer,))
        with RequestContext(
            method, caller, context.time_remaining, recorder.ended, is_stream=method.streaming
        ):
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
