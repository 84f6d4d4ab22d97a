"""The port: every service on one gRPC server, and the health that it tells."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import grpc
from grpc_health.v1 import health

from semserve_server.frontend.auth_interceptor import AuthInterceptor
from semserve_server.frontend.channel_arguments import ConnectionLimits
from semserve_server.frontend.health import SERVER, Health
from semserve_server.frontend.reflection import REFLECTION, ReflectionServicer
from semserve_server.frontend.security import OPEN, Security
from semserve_server.observability.recorder import Recorder
from semserve_server.registry.registry import Models
from semserve_server.rpc.drainable_streams import DrainableStreams
from semserve_server.rpc.handlers import Streams
from semserve_server.rpc.instrumented_handlers import Methods
from semserve_server.rpc.open_calls import OpenCalls
from semserve_server.rpc.reply_handlers import with_reply_rooms
from semserve_server.rpc.unread_budget import UnreadBytes
from semserve_server.services.classification import ClassificationService
from semserve_server.services.embedding import EmbeddingService
from semserve_server.services.model import ModelService
from semserve_server.services.scoped_registry import ScopedRegistry
from semserve_server.services.scoring_thread import ScoringThread
from semserve_server.services.similarity import SimilarityService
from semserve_server.services.validation import Limits
from semserve_server.supervision.watchdog import wait_or_timeout
from semserve_server.system.listen_address import cannot_listen, check_address
from semserve_server.system.unix_socket import UNIX, UnixSocket

log = logging.getLogger(__name__)

SERVICES = {
    EmbeddingService.name: "embedding",
    ClassificationService.name: "classification",
    SimilarityService.name: "embedding",
    ModelService.name: "",
}
"""Our services, and the task of the models that each needs."""
REFUSE_SECONDS = 2.0
"""For how long at most calls are told that the server is stopping before gRPC stops taking them."""
QUIET_SECONDS = 0.3
"""Without a call for so long, those who were told have gone elsewhere."""
NEVER = 864_000.0
"""Seconds after which gRPC's own server would cancel calls by itself."""
LAST_SECONDS = 0.3
"""What health and reflection have to end their streams once no other call is being answered."""


class GrpcServer:
    """A gRPC server with all services. Made on the event loop; not yet open."""

    def __init__(
        self,
        models: Models,
        limits: Limits,
        connection_limits: ConnectionLimits,
        recorder: Recorder | None = None,
        security: Security = OPEN,
    ) -> None:
        recorder = recorder or Recorder()
        key_store = security.key_store
        if key_store is not None:
            recorder.usage = key_store.usage
        self._certificates = security.certificates
        self._server = grpc.aio.server(
            options=connection_limits.options(),
            maximum_concurrent_rpcs=connection_limits.max_calls,
            interceptors=[AuthInterceptor(key_store, security.open_services, recorder)]
            if key_store
            else [],
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
        self._health = Health(self._drainable, SERVICES, keyed=key_store is not None)
        self._socket: UnixSocket | None = None
        self._models = models
        models.on_change = self._update_health
        self._register(ScopedRegistry(models) if key_store else models, limits, recorder)
        logging.getLogger("grpc._cython.cygrpc").addFilter(_caller_is_there)

    def _register(self, models: Models, limits: Limits, recorder: Recorder) -> None:
        embedding = EmbeddingService(models, limits)
        classification = ClassificationService(models, limits)
        similarity = SimilarityService(models, limits, self._scorer)
        model = ModelService(models, limits)
        handlers = {
            embedding.name: embedding.handlers(self._streams),
            classification.name: classification.handlers(self._streams),
            similarity.name: similarity.handlers(),
            model.name: model.handlers(),
        }
        names = [*handlers, health.SERVICE_NAME, *REFLECTION]
        reflection = ReflectionServicer(self._drainable, names)
        # Registered as services are, for gRPC's own way answers what it cannot parse with UNKNOWN.
        drainable_services = {
            health.SERVICE_NAME: self._health.handlers(),
            **{name: reflection.handlers() for name in REFLECTION},
        }
        services = {name: with_reply_rooms(each, self._unread) for name, each in handlers.items()}
        self._server.add_generic_rpc_handlers(
            [Methods(services, drainable_services, recorder, self._calls)]
        )

    async def open(self, address: str) -> int:
        """Listen, with every health NOT_SERVING; returns the port.

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
        """Tell of each model, of the services, and of the server.

        A model is SERVING while it does not hang, a service while a model of its kind is, and the
        server while it has models and none hangs.
        """
        engines = self._models.all()
        models = {engine.name: not engine.stalled for engine in engines}
        ready = {engine.manifest.task for engine in engines if not engine.stalled}
        services = {name: task in ready if task else True for name, task in SERVICES.items()}
        hangs = any(one.kind != "load" for one in self._models.workers.hanging())
        self._health.update({**models, **services, SERVER: bool(models) and not hangs})

    async def ended(self) -> None:
        """Wait until gRPC's server has stopped, for whatever reason."""
        # Not itself: gRPC's own wait for its end does not survive that it is cancelled.
        await asyncio.wait([self._ending])

    def set_not_serving(self) -> None:
        """Tell balancers to go elsewhere, for good."""
        self._health.drain()

    async def drain(self, seconds: float) -> None:
        """Refuse new RPCs, let streams finish what they have read, and wait at most so long."""
        self._streams.drain()
        self._drainable.end()
        # After the messages that have been read, which all have their turn before.
        asyncio.get_running_loop().call_soon(self._models.drain)
        refusing = await self._refuse(min(seconds, REFUSE_SECONDS))
        await self._stop(max(seconds - refusing, 0))
        self._scorer.close()
        if self._socket is not None:
            self._socket.remove()

    async def _stop(self, seconds: float) -> None:
        """Let gRPC stop, at the latest after so long; sooner where no call is being answered.

        gRPC itself would wait for calls whose request never comes. And two stops of its server
        whose times are over at once make it crash (grpcio 1.85), so the time is kept here.
        """
        stopping = asyncio.create_task(self._server.stop(NEVER))
        answered = asyncio.create_task(self._calls.none())
        either: list[asyncio.Future[None]] = [stopping, answered]
        await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        answered.cancel()
        await asyncio.wait([stopping], timeout=min(seconds, LAST_SECONDS))
        await self._server.stop(None)
        await stopping

    async def _refuse(self, seconds: float) -> float:
        """Answer calls until none come any more: those that find gRPC closing, it cancels.

        Returns:
            The seconds that it took, at most about so many.
        """
        clock, refusing = asyncio.get_running_loop().time, self._models.refusing
        begun = clock()
        while (left := begun + seconds - clock()) > 0:
            refusing.clear()
            if not await wait_or_timeout(refusing, min(QUIET_SECONDS, left)):
                break
        return clock() - begun


def _gauges(
    unread: UnreadBytes, scorer: ScoringThread
) -> dict[str, tuple[str, Callable[[], float]]]:
    """Return what the metrics tell of the bounds that all requests share."""
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
    """Drop grpcio's errors for answers that nobody takes: their caller left, or the drain ended."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, (grpc.aio.InternalError, asyncio.CancelledError)):
        log.debug("a caller cancelled before its reply: %s", error)
        return False
    return True
