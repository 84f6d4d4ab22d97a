"""Puts a watch around every RPC: its request is named, timed, counted and traced."""

from __future__ import annotations

from typing import Any

import grpc

from semserve_server.observe.exchange import Caller, Exchange
from semserve_server.observe.observer import Observer
from semserve_server.observe.tally import MethodTally
from semserve_server.services.rpc import Context, Handler, Handlers


def watched(service: str, handlers: Handlers, observer: Observer) -> Handlers:
    """Return the handlers of a service so that `observer` sees every request of theirs."""
    return {
        name: _watched(
            handler,
            observer.method(service, name, streaming=bool(handler.response_streaming)),
            observer,
        )
        for name, handler in handlers.items()
    }


def _watched(handler: Handler, method: MethodTally, observer: Observer) -> Handler:
    answer: Any = handler.stream_stream if method.streaming else handler.unary_unary

    # One for both shapes: a stream of ours reads and writes by its context, and returns nothing.
    async def handle(request: Any, context: Context) -> Any:
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
