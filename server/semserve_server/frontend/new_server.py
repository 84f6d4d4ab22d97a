"""Makes the gRPC server of a front end: grpc.aio's, or the one on the completion queue."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

import grpc

from semserve_server.completion_queue.server import CompletionQueueServer
from semserve_server.completion_queue.shared_event_loop import SharedEventLoop
from semserve_server.frontend.channel_arguments import ConnectionLimits
from semserve_server.rpc.instrumented_handlers import Methods


class Server(Protocol):
    """What the front end uses of `grpc.aio.Server`."""

    def add_insecure_port(self, address: str) -> int:
        """Listen on an address."""

    def add_secure_port(self, address: str, credentials: grpc.ServerCredentials, /) -> int:
        """Listen on an address with TLS."""

    async def start(self) -> None:
        """Accept calls."""

    async def stop(self, grace: float | None) -> None:
        """Accept no more calls, and wait until all have ended."""

    async def wait_for_termination(self) -> object:
        """Wait until the server has stopped."""


def new_server(
    methods: Methods,
    limits: ConnectionLimits,
    interceptors: Sequence[grpc.aio.ServerInterceptor],
) -> Server:
    """Create the server for the running event loop. It has no port yet.

    Args:
        methods: the handlers.
        limits: limits of connections and calls.
        interceptors: called before a handler.
    """
    if isinstance(asyncio.get_running_loop(), SharedEventLoop):
        return CompletionQueueServer(
            methods, limits.options(), max_calls=limits.max_calls, interceptors=interceptors
        )
    server = grpc.aio.server(
        options=limits.options(),
        maximum_concurrent_rpcs=limits.max_calls,
        interceptors=interceptors,
    )
    server.add_generic_rpc_handlers([methods])
    return server
