"""The port: every service on one gRPC server, and the health that it tells."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

from semserve_server.errors import ConfigError
from semserve_server.models import Models
from semserve_server.services import reflection
from semserve_server.services.checks import Limits
from semserve_server.services.classification import ClassificationService
from semserve_server.services.embedding import EmbeddingService
from semserve_server.services.model import ModelService
from semserve_server.services.rpc import Streams
from semserve_server.services.similarity import SimilarityService

log = logging.getLogger(__name__)

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@dataclass(frozen=True, slots=True, kw_only=True)
class PortLimits:
    """Bounds of the transport."""

    max_message_bytes: int
    """Most bytes of a request message; gRPC refuses larger ones with RESOURCE_EXHAUSTED."""
    max_stream_requests: int
    """Most messages of one stream that are read and not yet answered."""


class Port:
    """A gRPC server with all services. Made on the event loop; not yet open."""

    def __init__(self, models: Models, limits: Limits, port_limits: PortLimits) -> None:
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", port_limits.max_message_bytes),
                # Answers are as large as the limits on requests make them.
                ("grpc.max_send_message_length", -1),
                # A second server on the same port is a mistake, not a share of the load.
                ("grpc.so_reuseport", 0),
                # Callers may keep idle connections alive; none of them costs much.
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
                ("grpc.keepalive_permit_without_calls", 1),
            ]
        )
        self._streams = Streams(max_in_flight=port_limits.max_stream_requests)
        self._health = HealthServicer()
        self._register(models, limits)
        logging.getLogger("grpc._cython.cygrpc").addFilter(_somebody_listens)

    def _register(self, models: Models, limits: Limits) -> None:
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
        self._server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(name, each) for name, each in handlers.items()]
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable(self._server, [*handlers, health.SERVICE_NAME])

    async def open(self, address: str) -> int:
        """Listen, with every health NOT_SERVING; returns the port.

        Raises:
            ConfigError: the address cannot be bound.
        """
        # The library's own default says that "" is SERVING before anything is.
        await self._health.set("", NOT_SERVING)
        try:
            port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise ConfigError(
                f"--address {address}: cannot listen there; is another server running?"
            ) from error
        await self._server.start()
        return port

    async def tell_serving(self, models: Models) -> None:
        """Tell that the server and each of its models are SERVING."""
        for engine in models.all():
            await self._health.set(engine.name, SERVING)
        await self._health.set("", SERVING)

    async def tell_not_serving(self) -> None:
        """Tell balancers to go elsewhere, for good."""
        await self._health.enter_graceful_shutdown()

    async def tell_failed(self, model: str) -> None:
        """Tell that a model, and so the server, cannot answer."""
        await self._health.set(model, NOT_SERVING)
        await self._health.set("", NOT_SERVING)

    async def drain(self, seconds: float) -> None:
        """Refuse new RPCs, let streams finish what they have read, and wait at most so long."""
        self._streams.drain()
        await self._server.stop(seconds)

    async def closed(self) -> None:
        """Wait until the server has stopped."""
        await self._server.wait_for_termination()


def _somebody_listens(record: logging.LogRecord) -> bool:
    """Drop grpcio's error for an answer that could not be sent because its caller had left."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, grpc.aio.InternalError):
        log.debug("a caller left before its answer: %s", error)
        return False
    return True
