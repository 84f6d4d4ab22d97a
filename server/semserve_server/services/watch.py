"""Puts a watch around every RPC: its request is named, timed, counted and traced."""

from __future__ import annotations

from typing import Any

import grpc

from semserve_server.observe.exchange import Caller, Exchange
from semserve_server.observe.observer import Observer
from semserve_server.observe.tally import MethodTally
from semserve_server.services.open_calls import OpenCalls
from semserve_server.services.rpc import Context, Handler, Handlers


def watched(service: str, handlers: Handlers, observer: Observer, calls: OpenCalls) -> Handlers:
    """Return the handlers of a service so that `observer` sees every request of theirs.

    Args:
        service: full name of the service.
        handlers: its RPCs.
        observer: what each request is told to.
        calls: counts the calls that are being answered.
    """
    return {
        name: _watched(
            handler,
            observer.method(service, name, streaming=bool(handler.response_streaming)),
            observer,
            calls,
        )
        for name, handler in handlers.items()
    }


def _watched(
    handler: Handler, method: MethodTally, observer: Observer, calls: OpenCalls
) -> Handler:
    answer: Any = handler.stream_stream if method.streaming else handler.unary_unary

    # One for both shapes: a stream of ours reads and writes by its context, and returns nothing.
    async def handle(request: Any, context: Context) -> Any:
        calls.add(context)
        caller = Caller(context.invocation_metadata() or ())
        context.set_trailing_metadata((caller.trailer,))
        with Exchange(
            method, caller, context.time_remaining, observer.ended, whole_stream=method.streaming
        ):
            return await answer(request, context)

    make = grpc.unary_unary_rpc_method_handler
    if method.streaming:
        make = grpc.stream_stream_rpc_method_handler
    return make(
        handle,
        request_deserializer=handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )
