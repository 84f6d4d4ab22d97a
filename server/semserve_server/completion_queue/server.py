"""The server: its ports, its new calls, the poller of its queue, and its stop."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, Protocol

import grpc
from grpc._cython import cygrpc  # type: ignore[attr-defined]  # it is private

from semserve_server.completion_queue.call import NO_FLAGS, Call
from semserve_server.completion_queue.context import Metadata
from semserve_server.completion_queue.poller import Poller
from semserve_server.completion_queue.shared_event_loop import SharedEventLoop
from semserve_server.rpc.handlers import Handler

log = logging.getLogger(__name__)

REQUESTED_CALLS = 32
"""Calls that are requested ahead. gRPC hands over a new call at once if one is requested; others
wait until the event loop requests the next."""


class CallDetails(NamedTuple):
    """What an interceptor sees of a call, as `grpc.HandlerCallDetails`."""

    method: str
    invocation_metadata: Metadata


class Methods(Protocol):
    """The handlers of the server."""

    def find(self, path: str) -> Handler:
        """Return the handler of a method, whether the method exists or not."""

    def is_stream(self, path: str) -> bool:
        """Return whether callers send a stream to a method, as far as is known."""

    def count_unread(self, path: str) -> None:
        """Count a call whose request never arrived."""


Interceptor = Any
"""A `grpc.aio.ServerInterceptor`."""


class CompletionQueueServer:
    """A server with the methods of `grpc.aio.Server` that the front end uses."""

    def __init__(
        self,
        methods: Methods,
        options: Sequence[tuple[str, int]],
        *,
        max_calls: int,
        interceptors: Sequence[Interceptor] = (),
    ) -> None:
        """Create a server without ports, which is not started.

        Args:
            methods: the handlers.
            options: gRPC channel arguments.
            max_calls: most concurrent calls. Further ones get RESOURCE_EXHAUSTED.
            interceptors: called in this order before a handler.
        """
        self._methods = methods
        self._max_calls = max_calls
        self._interceptors = tuple(interceptors)
        self._queue = cygrpc.CompletionQueue()
        self._server = cygrpc.Server(tuple(options), False)
        self._server.register_completion_queue(self._queue)
        self._calls: set[Call] = set()
        self._started = False
        self._stopping = False
        self.stopped = False

    def __repr__(self) -> str:
        return f"<CompletionQueueServer {len(self._calls)} calls>"

    def add_insecure_port(self, address: str) -> int:
        """Listen on an address. Returns the port.

        Raises:
            RuntimeError: the address cannot be bound.
        """
        return self._add_port(address)

    def add_secure_port(self, address: str, credentials: grpc.ServerCredentials) -> int:
        """Listen on an address with TLS. Returns the port.

        Raises:
            RuntimeError: the address cannot be bound.
        """
        return self._add_port(address, credentials._credentials)  # type: ignore[attr-defined]  # noqa: SLF001

    def _add_port(self, *arguments: Any) -> int:
        address, *rest = arguments
        port: int = self._server.add_http2_port(address.encode(), *rest)
        if not port:
            raise RuntimeError(f"cannot bind {address}")
        return port

    async def start(self) -> None:
        """Accept calls."""
        loop = asyncio.get_running_loop()
        if not isinstance(loop, SharedEventLoop):
            raise TypeError("a server on the completion queue needs a SharedEventLoop")
        self._ended: asyncio.Future[None] = loop.create_future()
        self._server.start()
        self._started = True
        for _ in range(REQUESTED_CALLS):
            self._request_call()
        self._poller = Poller(self._queue, loop, ended=self._poller_ended)
        self._poller.start()

    async def stop(self, grace: float | None) -> None:
        """Accept no more calls, and wait until all have ended.

        Args:
            grace: seconds after which the calls are cancelled; None to cancel them now.
        """
        if not self._started:
            return
        if not self._stopping:
            self._stopping = True
            self._server.shutdown(self._queue, self._shut_down)
        if grace is not None:
            await asyncio.wait([self._ended], timeout=grace)
        if not self.stopped:
            self._server.cancel_all_calls()
        await asyncio.wait([self._ended])
        self._poller.join()

    async def wait_for_termination(self) -> None:
        """Wait until the server has stopped."""
        await asyncio.wait([self._ended])

    async def handler(self, call: Call) -> Handler:
        """Return the handler of a call as the interceptors decide."""
        find: Callable[[Any], Awaitable[Handler]] = self._find
        for interceptor in reversed(self._interceptors):
            find = functools.partial(interceptor.intercept_service, find)
        return await find(CallDetails(call.path, call.invocation_metadata()))

    async def _find(self, details: CallDetails) -> Handler:
        return self._methods.find(details.method)

    def is_stream(self, path: str) -> bool:
        """Return whether callers send a stream to a method, as far as is known."""
        return self._methods.is_stream(path)

    def ended(self, call: Call) -> None:
        """Forget a call."""
        if call in self._calls:
            self._calls.discard(call)
            handler = call.handler
            if handler and not handler.request_streaming and not call.received_request:
                self._methods.count_unread(call.path)

    def _request_call(self) -> None:
        try:
            self._server.request_call(self._queue, self._queue, self._accept)
        except ValueError:
            log.debug("the server stops, and takes no more calls")

    def _accept(self, event: Any) -> None:
        """Begin a new call."""
        if not event.success:  # the server stops
            return
        self._request_call()
        path = event.call_details.method.decode()
        if len(self._calls) >= self._max_calls:
            self._refuse(event.call, path)
            return
        call = Call(self, event, path, None if self._interceptors else self._methods.find(path))
        self._calls.add(call)
        call.begin()

    def _refuse(self, call: Any, path: str) -> None:
        """Refuse a call beyond `max_calls`."""
        operations = (
            cygrpc.SendInitialMetadataOperation(None, NO_FLAGS),
            cygrpc.ReceiveCloseOnServerOperation(NO_FLAGS),
            cygrpc.SendStatusFromServerOperation(
                None,
                grpc.StatusCode.RESOURCE_EXHAUSTED.value[0],
                b"Concurrent RPC limit exceeded!",
                NO_FLAGS,
            ),
        )
        call.start_server_batch(operations, _ignore)
        if not self._methods.find(path).request_streaming:
            self._methods.count_unread(path)

    def _shut_down(self, _event: Any) -> None:
        """Close the queue, when no call is left."""
        self.stopped = True
        self._server.destroy()
        self._queue.shutdown()

    def _poller_ended(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)


def _ignore(_event: Any) -> None:
    pass
