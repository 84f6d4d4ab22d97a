"""grpc.health.v1: what is SERVING, told at once to everybody who asks or watches."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from semserve_server.auth.key_store import PRINCIPAL
from semserve_server.errors import Draining, ModelNotFound
from semserve_server.registry.registry import STOPPING, shown
from semserve_server.rpc.drainable_streams import DrainableStreams
from semserve_server.rpc.handlers import Context, Handlers
from semserve_server.rpc.plain_handlers import question, watch

SERVER = ""
"""The service that stands for all of them."""
SERVING = HealthCheckResponse.SERVING
NOT_SERVING = HealthCheckResponse.NOT_SERVING


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # it ships no types
    """The health service. Used on the event loop alone.

    grpcio's own holds a lock while it writes to a watcher, so that one who does not read would keep
    the server from telling anybody, and from draining.
    """

    def __init__(
        self, drainable: DrainableStreams, services: Collection[str] = (), *, keyed: bool = False
    ) -> None:
        """Begin with the server and its services known and not serving.

        Args:
            drainable: ends watches when the server drains.
            services: full names of the gRPC services, as clients with health checking ask for them.
            keyed: whether names of models are listed only to keys that may use them.
        """
        self._drainable = drainable
        self._services = frozenset((SERVER, *services))
        self._keyed = keyed
        self._serving = dict.fromkeys(self._services, False)
        self._draining = False
        self._changed = asyncio.Event()

    def handlers(self) -> Handlers:
        """Return a handler for each RPC of the service."""
        return {
            "Check": question(HealthCheckRequest, self.Check),
            "List": question(health_pb2.HealthListRequest, self.List),
            "Watch": watch(HealthCheckRequest, self.Watch),
        }

    def tell(self, serving: Mapping[str, bool]) -> None:
        """Tell which services are SERVING; one that was known and is not named is not."""
        if not self._draining:
            self._set({**dict.fromkeys(self._serving, False), **serving})

    def drain(self) -> None:
        """Tell that nothing is SERVING, for good."""
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
        """Answer with a service's health.

        Raises:
            ModelNotFound: it has never been served.
        """
        if request.service not in self._serving:
            raise ModelNotFound(f"there is no service or model {shown(request.service)!r}")
        return HealthCheckResponse(status=self._status(request.service))

    async def List(  # noqa: N802  (gRPC's name)
        self, _request: health_pb2.HealthListRequest, _context: Context
    ) -> health_pb2.HealthListResponse:
        """Answer with the health of all services, and of the models that the caller may use."""
        return health_pb2.HealthListResponse(
            statuses={
                name: HealthCheckResponse(status=self._status(name))
                for name in self._serving
                if self._may_list(name)
            }
        )

    def _may_list(self, name: str) -> bool:
        if name in self._services or not self._keyed:
            return True
        principal = PRINCIPAL.get(None)
        return principal is not None and principal.may_use(name)

    async def Watch(  # noqa: N802  (gRPC's name)
        self, request: HealthCheckRequest, context: Context
    ) -> None:
        """Tell a service's health, and each change of it; SERVICE_UNKNOWN until it is served.

        A watch that opens while the server drains gets NOT_SERVING and ends with an error: gRPC's
        own clients open another at once where a watch ends well, and would keep the server busy.

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
        told = None
        while True:
            changed, status = self._changed, self._status(service)
            if status != told:
                await context.write(HealthCheckResponse(status=status))
                told = status
            await changed.wait()

    def _status(self, service: str) -> HealthCheckResponse.ServingStatus:
        if service not in self._serving:
            return HealthCheckResponse.SERVICE_UNKNOWN
        return SERVING if self._serving[service] else NOT_SERVING
