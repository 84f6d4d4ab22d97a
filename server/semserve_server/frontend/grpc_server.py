"""The gRPC server with all services, and the health that it reports."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

import grpc
from grpc_health.v1 import health

from semserve_server.facades.registration import Facades, Services, facade_handlers
from semserve_server.frontend.auth_interceptor import AuthInterceptor
from semserve_server.frontend.channel_arguments import ConnectionLimits
from semserve_server.frontend.drain import REFUSE_SECONDS, refuse_calls, stop
from semserve_server.frontend.early_refusal import EarlyRefusal, early_refusals
from semserve_server.frontend.health import SERVER, Health
from semserve_server.frontend.new_server import new_server
from semserve_server.frontend.reflection import REFLECTION, ReflectionServicer
from semserve_server.frontend.security import OPEN, Security
from semserve_server.observability.recorder import Recorder
from semserve_server.registry.registry import ModelRegistry
from semserve_server.rpc.drainable_streams import DrainableStreams
from semserve_server.rpc.handlers import Handlers, Streams
from semserve_server.rpc.instrumented_handlers import Methods
from semserve_server.rpc.open_calls import OpenCalls
from semserve_server.rpc.reply_handlers import with_reply_rooms
from semserve_server.rpc.unread_budget import UnreadBytes
from semserve_server.services.classification import ClassificationService
from semserve_server.services.embedding import EmbeddingService
from semserve_server.services.model import ModelService
from semserve_server.services.scoped_registry import ScopedRegistry
from semserve_server.services.score import ScoreService
from semserve_server.services.scoring_thread import ScoringThread
from semserve_server.services.server_info import TransportLimits
from semserve_server.services.similarity import SimilarityService
from semserve_server.services.validation import Limits
from semserve_server.system.listen_address import cannot_listen, check_address
from semserve_server.system.unix_socket import UNIX, UnixSocket

log = logging.getLogger(__name__)

SERVICES: dict[str, frozenset[str]] = {
    EmbeddingService.name: frozenset(("embedding", "sparse_embedding")),
    ClassificationService.name: frozenset(("classification",)),
    SimilarityService.name: frozenset(("embedding",)),
    ScoreService.name: frozenset(("score",)),
    ModelService.name: frozenset(),
}
"""The services of semserve, and the tasks of which each needs a loaded model."""
NO_FACADES = Facades()


class GrpcServer:
    """A gRPC server with all services. Created on the event loop; not open yet."""

    def __init__(
        self,
        models: ModelRegistry,
        limits: Limits,
        connection_limits: ConnectionLimits,
        recorder: Recorder | None = None,
        security: Security = OPEN,
        *,
        facades: Facades = NO_FACADES,
    ) -> None:
        recorder = recorder or Recorder()
        key_store = security.key_store
        if key_store is not None:
            recorder.usage = key_store.usage
        self._certificates = security.certificates
        interceptors = (
            [AuthInterceptor(key_store, security.open_services, recorder)] if key_store else []
        )
        self._unread = UnreadBytes(connection_limits.max_unread_bytes)
        self._scorer = ScoringThread(max_waiting=connection_limits.max_queue_scores)
        models.workers.add(self._scorer, (self._scorer.worker,))
        self._streams = Streams(
            self._unread, connection_limits.new_window, max_fields=limits.max_texts
        )
        recorder.gauges.update(_gauges(self._unread, self._scorer))
        self._calls = OpenCalls()
        self._drainable = DrainableStreams()
        self._services = SERVICES | facades.health
        self._health = Health(self._drainable, self._services, keyed=key_store is not None)
        self._socket: UnixSocket | None = None
        self._models = models
        models.on_change = self._update_health
        transport = TransportLimits(
            max_message_bytes=connection_limits.max_message_bytes,
            max_stream_requests=connection_limits.max_stream_requests,
            max_unread_bytes=connection_limits.max_unread_bytes,
        )
        visible = ScopedRegistry(models) if key_store else models
        handlers = self._handlers(visible, limits, transport, facades)
        methods = self._methods(handlers, recorder, early_refusals(visible))
        self._server = new_server(methods, connection_limits, interceptors)
        logging.getLogger("grpc._cython.cygrpc").addFilter(_caller_is_there)

    def _handlers(
        self,
        models: ModelRegistry,
        limits: Limits,
        transport: TransportLimits,
        facades: Facades,
    ) -> dict[str, Handlers]:
        """Create the services. Returns the handlers of each by its full name."""
        embedding = EmbeddingService(models, limits, self._scorer)
        classification = ClassificationService(models, limits)
        similarity = SimilarityService(models, limits, self._scorer)
        score = ScoreService(models, limits)
        model = ModelService(models, limits, transport)
        handlers = {
            embedding.name: embedding.handlers(self._streams),
            classification.name: classification.handlers(self._streams),
            similarity.name: similarity.handlers(),
            score.name: score.handlers(),
            model.name: model.handlers(),
        }
        services = Services(
            models=models,
            limits=limits,
            embedding=embedding,
            classification=classification,
            score=score,
            model=model,
        )
        handlers |= facade_handlers(facades, services, self._streams)
        return handlers

    def _methods(
        self,
        handlers: Mapping[str, Handlers],
        recorder: Recorder,
        gates: Mapping[str, EarlyRefusal],
    ) -> Methods:
        names = [*handlers, health.SERVICE_NAME, *REFLECTION]
        reflection = ReflectionServicer(self._drainable, names)
        # Registered by this code, because gRPC's own registration answers bytes that it cannot
        # parse with UNKNOWN.
        drainable_services = {
            health.SERVICE_NAME: self._health.handlers(),
            **{name: reflection.handlers() for name in REFLECTION},
        }
        services = {name: with_reply_rooms(each, self._unread) for name, each in handlers.items()}
        return Methods(services, drainable_services, recorder, self._calls, gates)

    async def open(self, address: str) -> int:
        """Listen, with every health NOT_SERVING. Returns the port.

        Raises:
            ConfigError: the address cannot be bound.
        """
        check_address(address)
        if address.startswith(UNIX):
            self._socket = UnixSocket(address)
        try:
            port = self._listen(self._socket.own_address if self._socket else address)
        except RuntimeError as error:
            raise cannot_listen(address) from error
        if self._socket is not None:
            try:
                self._socket.publish()
            finally:
                self._socket.remove_own()
        await self._server.start()
        self._ending = asyncio.create_task(self._server.wait_for_termination())
        return port

    def _listen(self, address: str) -> int:
        if self._certificates is None:
            return self._server.add_insecure_port(address)
        return self._server.add_secure_port(address, self._certificates.credentials())

    def _update_health(self) -> None:
        """Update the health of each model, of the services, and of the server.

        A model is SERVING while none of its threads hangs, a service while a model of its tasks is,
        and the server while it has models and no thread hangs.
        """
        engines = self._models.all()
        models = {engine.name: not engine.stalled for engine in engines}
        ready = {engine.manifest.task for engine in engines if not engine.stalled}
        services = {
            name: not tasks or bool(tasks & ready) for name, tasks in self._services.items()
        }
        hangs = any(one.kind != "load" for one in self._models.workers.hanging())
        self._health.update({**models, **services, SERVER: bool(models) and not hangs})

    async def ended(self) -> None:
        """Wait until gRPC's server has stopped, for any reason."""
        # A task of its own, because gRPC's wait cannot be cancelled and repeated.
        await asyncio.wait([self._ending])

    def set_not_serving(self) -> None:
        """Report NOT_SERVING to load balancers, permanently."""
        self._health.drain()

    async def drain(self, seconds: float) -> None:
        """Refuse new RPCs, let streams finish the messages they have read, and wait.

        Args:
            seconds: most seconds to wait.
        """
        self._streams.drain()
        self._drainable.end()
        # On the next loop iteration, so that the messages that were read find their models.
        asyncio.get_running_loop().call_soon(self._models.drain)
        refusing = await refuse_calls(self._models.refusing, min(seconds, REFUSE_SECONDS))
        await stop(self._server, self._calls, max(seconds - refusing, 0))
        self._scorer.close()
        if self._socket is not None:
            self._socket.remove()


def _gauges(
    unread: UnreadBytes, scorer: ScoringThread
) -> dict[str, tuple[str, Callable[[], float]]]:
    """Return the gauges of the limits that all requests share."""
    return {
        "unread_bytes": (
            "Bytes of memory for answers that clients have not read, and for their requests.",
            lambda: unread.held,
        ),
        "unread_bytes_limit": ("Most such bytes.", lambda: unread.most),
        "unread_waiting": ("Messages of streams that wait for such bytes.", lambda: unread.waiting),
        "queue_scores": ("Scores that wait or are being computed.", lambda: scorer.waiting),
        "queue_scores_limit": ("Most scores that may wait.", lambda: scorer.max_waiting),
    }


def _caller_is_there(record: logging.LogRecord) -> bool:
    """Drop grpcio's errors for replies without a caller (cancelled, or after the drain)."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, (grpc.aio.InternalError, asyncio.CancelledError)):
        log.debug("a caller cancelled before its reply: %s", error)
        return False
    return True
