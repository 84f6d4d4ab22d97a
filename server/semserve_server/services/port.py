"""The port: every service on one gRPC server, and the health that it tells."""

from __future__ import annotations

import asyncio
import logging

import grpc
from grpc_health.v1 import health

from semserve_server.address import cannot_listen, check_address
from semserve_server.models import Models
from semserve_server.observe.observer import Observer
from semserve_server.services.checks import Limits
from semserve_server.services.classification import ClassificationService
from semserve_server.services.doorkeeper import Doorkeeper
from semserve_server.services.embedding import EmbeddingService
from semserve_server.services.endless import Endless
from semserve_server.services.health import SERVER, Health
from semserve_server.services.model import ModelService
from semserve_server.services.own_models import OwnModels
from semserve_server.services.port_limits import PortLimits
from semserve_server.services.reflection import REFLECTION, ReflectionServicer
from semserve_server.services.rpc import Streams
from semserve_server.services.security import OPEN, Security
from semserve_server.services.similarity import SimilarityService
from semserve_server.services.watch import Methods
from semserve_server.watchdog import either

log = logging.getLogger(__name__)

OURS = {
    EmbeddingService.name: "embedding",
    ClassificationService.name: "classification",
    SimilarityService.name: "embedding",
    ModelService.name: "",
}
"""Our services, and the task of the models that each needs."""
REFUSING_SECONDS = 2.0
"""For how long at most calls are told that the server is stopping before gRPC stops taking them."""
QUIET_SECONDS = 0.3
"""Without a call for so long, those who were told have gone elsewhere."""


class Port:
    """A gRPC server with all services. Made on the event loop; not yet open."""

    def __init__(
        self,
        models: Models,
        limits: Limits,
        port_limits: PortLimits,
        observer: Observer | None = None,
        security: Security = OPEN,
    ) -> None:
        observer = observer or Observer()
        keyring = security.keyring
        if keyring is not None:
            observer.usage = keyring.usage
        self._certificates = security.certificates
        self._server = grpc.aio.server(
            options=port_limits.options(),
            interceptors=[Doorkeeper(keyring, security.open_services, observer)] if keyring else [],
        )
        self._streams = Streams(
            max_requests=port_limits.max_stream_requests, max_bytes=port_limits.max_stream_bytes
        )
        self._endless = Endless()
        self._health = Health(self._endless, OURS, keyed=keyring is not None)
        self._models = models
        models.on_change = self._tell_health
        self._register(OwnModels(models) if keyring else models, limits, observer)
        logging.getLogger("grpc._cython.cygrpc").addFilter(_somebody_listens)

    def _register(self, models: Models, limits: Limits, observer: Observer) -> None:
        embedding = EmbeddingService(models, limits)
        classification = ClassificationService(models, limits)
        similarity = SimilarityService(models, limits)
        model = ModelService(models, limits)
        handlers = {
            embedding.name: embedding.handlers(self._streams),
            classification.name: classification.handlers(self._streams),
            similarity.name: similarity.handlers(),
            model.name: model.handlers(),
        }
        names = [*handlers, health.SERVICE_NAME, *REFLECTION]
        reflection = ReflectionServicer(self._endless, names)
        # Registered as ours are, for gRPC's own way answers what it cannot parse with UNKNOWN.
        theirs = {
            health.SERVICE_NAME: self._health.handlers(),
            **{name: reflection.handlers() for name in REFLECTION},
        }
        self._server.add_generic_rpc_handlers([Methods({**handlers, **theirs}, observer)])

    async def open(self, address: str) -> int:
        """Listen, with every health NOT_SERVING; returns the port.

        Raises:
            ConfigError: the address cannot be bound.
        """
        check_address(address)
        try:
            port = self._listen(address)
        except RuntimeError as error:
            raise cannot_listen(address) from error
        await self._server.start()
        return port

    def _listen(self, address: str) -> int:
        if self._certificates is None:
            return self._server.add_insecure_port(address)
        return self._server.add_secure_port(address, self._certificates.credentials())

    def _tell_health(self) -> None:
        """Tell of each model, of the services, and of the server.

        A model is SERVING while it does not hang, a service while a model of its kind is, and the
        server while it has models and none hangs.
        """
        engines = self._models.all()
        models = {engine.name: not engine.stalled for engine in engines}
        ready = {engine.manifest.task for engine in engines if not engine.stalled}
        services = {name: task in ready if task else True for name, task in OURS.items()}
        hangs = any(engine.stalled for engine in self._models.alive())
        self._health.tell({**models, **services, SERVER: bool(models) and not hangs})

    def tell_not_serving(self) -> None:
        """Tell balancers to go elsewhere, for good."""
        self._health.drain()

    async def drain(self, seconds: float) -> None:
        """Refuse new RPCs, let streams finish what they have read, and wait at most so long."""
        self._streams.drain()
        self._endless.end()
        # After the messages that have been read, which all have their turn before.
        asyncio.get_running_loop().call_soon(self._models.drain)
        refusing = await self._refuse(min(seconds, REFUSING_SECONDS))
        await self._server.stop(max(seconds - refusing, 0))

    async def _refuse(self, seconds: float) -> float:
        """Answer calls until none come any more: those that find gRPC closing, it cancels.

        Returns:
            The seconds that it took, at most about so many.
        """
        clock = asyncio.get_running_loop().time
        begun, refused = clock(), -1
        while clock() < begun + seconds and refused != self._models.refused:
            refused = self._models.refused
            await either(asyncio.Event(), QUIET_SECONDS)
        return clock() - begun


def _somebody_listens(record: logging.LogRecord) -> bool:
    """Drop grpcio's errors for answers that nobody takes: their caller left, or the drain ended."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, (grpc.aio.InternalError, asyncio.CancelledError)):
        log.debug("a caller left before its answer: %s", error)
        return False
    return True
