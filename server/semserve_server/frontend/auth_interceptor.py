"""Checks the API key of every call before its request is read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

import grpc

from semserve_server.auth.key_store import PRINCIPAL, KeyStore
from semserve_server.errors import Unauthenticated
from semserve_server.observability.recorder import Recorder
from semserve_server.rpc.handlers import Context, Handler
from semserve_server.rpc.instrumented_handlers import instrumented
from semserve_server.rpc.open_calls import OpenCalls
from semserve_server.rpc.status import abort

SCHEME = "bearer "
REFUSAL = "this server needs a valid API key in the metadata: authorization: Bearer KEY"


class AuthInterceptor(grpc.aio.ServerInterceptor):
    """The interceptor of all RPCs. A server without a key file does not have it."""

    def __init__(
        self, key_store: KeyStore, open_services: Iterable[str], recorder: Recorder
    ) -> None:
        """Create the interceptor.

        Args:
            key_store: the valid keys.
            open_services: full names of services that need no key.
            recorder: counts refused calls.
        """
        self._key_store = key_store
        self._open = frozenset(open_services)
        # A stream's handler, because the handler of a unary call runs only after the request was
        # read.
        refusing: Handler = grpc.stream_stream_rpc_method_handler(_refuse)
        handlers = instrumented("semserve", {"unauthenticated": refusing}, recorder, OpenCalls())
        self._refusing = handlers["unauthenticated"]

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Return the handler of a call; None for an unknown method."""
        service = handler_call_details.method.rpartition("/")[0].removeprefix("/")
        try:
            principal = self._key_store.principal(
                _key(handler_call_details.invocation_metadata or ())
            )
        except Unauthenticated:
            if service not in self._open:
                return self._refusing
        else:
            # gRPC runs the handler in the task that asks for it.
            PRINCIPAL.set(principal)
        return await continuation(handler_call_details)


def _key(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    """Return the key of a call's metadata; empty if there is none, or more than one."""
    found = [value for name, value in metadata if name == "authorization"]
    if len(found) != 1 or not isinstance(found[0], str):
        return ""
    value = found[0]
    return value[len(SCHEME) :].strip() if value[: len(SCHEME)].lower() == SCHEME else ""


async def _refuse(_messages: object, context: Context) -> None:
    await abort(context, Unauthenticated(REFUSAL))
