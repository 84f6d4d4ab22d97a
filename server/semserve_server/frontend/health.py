"""grpc.health.v1: reports which services and models are SERVING, and every change."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from semserve_server.auth.key_store import PRINCIPAL
from semserve_server.errors import Draining, ModelNotFound
from semserve_server.frontend.health_schema import HealthListRequest, HealthListResponse
from semserve_server.registry.registry import STOPPING
from semserve_server.request_checks import shown
from semserve_server.rpc.drainable_streams import DrainableStreams
from semserve_server.rpc.handlers import Context, Handlers
from semserve_server.rpc.plain_handlers import server_stream_handler, unary_handler

SERVER = ""
"""The service name of the whole server."""
SERVING = HealthCheckResponse.SERVING
NOT_SERVING = HealthCheckResponse.NOT_SERVING


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # it ships no types
    """The health service. Used only on the event loop.

    grpcio's own implementation holds a lock while it writes to a watcher. A watcher that does not
    read would keep the server from reporting changes and from draining.
    """

    def __init__(
        self, drainable: DrainableStreams, services: Collection[str] = (), *, keyed: bool = False
    ) -> None:
        """Create the service. The server and its services are known and NOT_SERVING.

        Args:
            drainable: ends watches when the server drains.
            services: full names of the gRPC services, which client-side health checking asks for.
            keyed: whether model names are listed only for keys that may use them.
        """
        self._drainable = drainable
        self._services = frozenset((SERVER, *services))
        self._keyed = keyed
        self._serving = dict.fromkeys(self._services, False)
        self._draining = False
        self._changed = asyncio.Event()

    def handlers(self) -> Handlers:
        """Return the handler of each RPC of the service."""
        return {
            "Check": unary_handler(HealthCheckRequest, self.Check),
            "List": unary_handler(HealthListRequest, self.List),
            "Watch": server_stream_handler(HealthCheckRequest, self.Watch),
        }

    def update(self, serving: Mapping[str, bool]) -> None:
        """Set which services are SERVING. A known service that is missing is NOT_SERVING."""
        if not self._draining:
            self._set({**dict.fromkeys(self._serving, False), **serving})

    def drain(self) -> None:
        """Report NOT_SERVING for all services, permanently."""
        self._draining = True
        self._set(dict.fromkeys(self._serving, False))

    def _set(self, serving: dict[str, bool]) -> None:
        if serving != self._serving:
            self._serving = serving
            self._changed.set()
            self._changed = asyncio.Event()

    async def Check(  # noqa: N802  (gRPC's name)
        self, request: HealthCheckRequest, _context: Context
    ) -> HealthCheckResponse:
        """Return the health of a service.

        Raises:
            ModelNotFound: no service or model of that name has been served.
        """
        if request.service not in self._serving:
            raise ModelNotFound(f"there is no service or model {shown(request.service)!r}")
        return HealthCheckResponse(status=self._status(request.service))

    async def List(  # noqa: N802  (gRPC's name)
        self, _request: HealthListRequest, _context: Context
    ) -> HealthListResponse:
        """Return the health of all services, and of the models that the caller may use."""
        reply = HealthListResponse()
        for name in self._serving:
            if self._may_list(name):
                reply.statuses[name].status = self._status(name)
        return reply

    def _may_list(self, name: str) -> bool:
        if name in self._services or not self._keyed:
            return True
        principal = PRINCIPAL.get(None)
        return principal is not None and principal.may_use(name)

    async def Watch(  # noqa: N802  (gRPC's name)
        self, request: HealthCheckRequest, context: Context
    ) -> None:
        """Send the health of a service, and each change; SERVICE_UNKNOWN until it is served.

        A watch that opens while the server drains gets NOT_SERVING and ends with an error. gRPC's
        own clients reopen a watch that ends with OK immediately, and would delay the drain.

        Raises:
            Draining: the server is stopping.
            Overloaded: too many streams are open.
        """
        if self._drainable.ended:
            await context.write(HealthCheckResponse(status=self._status(request.service)))
            raise Draining(STOPPING)
        self._drainable.check_room()
        await self._drainable.unless_ended(self._watch(request.service, context))

    async def _watch(self, service: str, context: Context) -> None:
        sent = None
        while True:
            changed, status = self._changed, self._status(service)
            if status != sent:
                await context.write(HealthCheckResponse(status=status))
                sent = status
            await changed.wait()

    def _status(self, service: str) -> HealthCheckResponse.ServingStatus:
        if service not in self._serving:
            return HealthCheckResponse.SERVICE_UNKNOWN
        return SERVING if self._serving[service] else NOT_SERVING
