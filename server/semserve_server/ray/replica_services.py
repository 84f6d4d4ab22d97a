"""The models and services of one replica: those of the server, without its gRPC server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from grpc_health.v1 import health

from semserve_server.config import Config
from semserve_server.errors import ConfigError, EngineFailed
from semserve_server.frontend.grpc_server import SERVICES
from semserve_server.frontend.health import SERVER, Health
from semserve_server.library.settings import NAMES, config_of
from semserve_server.observability.recorder import Recorder
from semserve_server.registry.defaults import default_models
from semserve_server.registry.model_manager import ModelManager
from semserve_server.registry.registry import ModelRegistry
from semserve_server.request_checks import Limits
from semserve_server.rpc.drainable_streams import DrainableStreams
from semserve_server.rpc.flow_control import Window
from semserve_server.rpc.handlers import Handler, Handlers, Streams
from semserve_server.rpc.instrumented_handlers import instrumented
from semserve_server.rpc.reply_handlers import with_reply_rooms
from semserve_server.rpc.unread_budget import UnreadBytes
from semserve_server.services.classification import ClassificationService
from semserve_server.services.embedding import EmbeddingService
from semserve_server.services.model import ModelService
from semserve_server.services.score import ScoreService
from semserve_server.services.scoring_thread import ScoringThread
from semserve_server.services.server_info import TransportLimits
from semserve_server.services.similarity import SimilarityService
from semserve_server.supervision.watchdog import Watchdog

DEFAULTS = ("default_embedder", "default_classifier", "default_scorer", "default_sparse_embedder")
"""The settings of a replica that the library does not have."""


def replica_config(models: str, settings: Mapping[str, Any]) -> Config:
    """Return the settings of a replica, with the server's defaults and bounds.

    Args:
        models: directory of bundles, or one bundle.
        settings: as the server's flags of the same names.

    Raises:
        ConfigError: a setting is unknown, or a flag of the server that a replica does not have.
    """
    for name in settings:
        if name not in (*NAMES, *DEFAULTS):
            known = ", ".join((*NAMES, *DEFAULTS))
            raise ConfigError(f"{name}: is no setting of a replica; they are: {known}")
    defaults = {name: settings[name] for name in DEFAULTS if name in settings}
    for name, value in defaults.items():
        if not isinstance(value, str):
            raise ConfigError(f"{name} {value!r}: must be a text")
    others = {name: value for name, value in settings.items() if name not in defaults}
    return replace(config_of(Path(models), others), **defaults)


class ReplicaServices:
    """The services over loaded models. Used on the event loop that made it."""

    def __init__(self, config: Config) -> None:
        """Create the services; no model is loaded yet."""
        self._config = config
        self._models = ModelRegistry(defaults=default_models(config))
        self._manager = ModelManager(config, self._models)
        self._watchdog = Watchdog(
            self._models, stall_timeout=config.stall_timeout, run_timeout=config.run_timeout
        )
        self._scorer = ScoringThread(max_waiting=config.max_queue_scores)
        self._models.workers.add(self._scorer, (self._scorer.worker,))
        self._health = Health(DrainableStreams(), SERVICES)
        self._models.on_change = self._update_health
        self.handlers: dict[str, Handler] = self._handlers()
        """The handler of each method by its name; no two services have a method of one name."""
        self.max_message_bytes = config.max_message_bytes
        """Most bytes of one message."""

    async def load(self) -> None:
        """Load every bundle.

        Raises:
            StartupError: a bundle cannot be loaded.
        """
        await self._manager.start(asyncio.Event())

    def check(self) -> None:
        """Look for threads that died or hang.

        Raises:
            EngineFailed: the replica must be replaced.
        """
        self._watchdog.check()
        if any(one.kind != "load" for one in self._models.workers.hanging()):
            raise EngineFailed("a run or a tokenizer has not returned for --stall-timeout")

    def _handlers(self) -> dict[str, Handler]:
        config, models = self._config, self._models
        limits = Limits.of(config)
        unread = UnreadBytes(config.max_unread_bytes)
        streams = Streams(unread, self._new_window, max_fields=limits.max_texts)
        transport = TransportLimits(
            max_message_bytes=config.max_message_bytes,
            max_stream_requests=config.max_stream_requests,
            max_unread_bytes=config.max_unread_bytes,
        )
        services: dict[str, Handlers] = {
            EmbeddingService.name: EmbeddingService(models, limits, self._scorer).handlers(streams),
            ClassificationService.name: ClassificationService(models, limits).handlers(streams),
            SimilarityService.name: SimilarityService(models, limits, self._scorer).handlers(),
            ScoreService.name: ScoreService(models, limits).handlers(),
            ModelService.name: ModelService(models, limits, transport).handlers(),
        }
        services = {name: with_reply_rooms(each, unread) for name, each in services.items()}
        services[health.SERVICE_NAME] = {"Check": self._health.handlers()["Check"]}
        recorder = Recorder()
        return {
            method: handler
            for name, each in services.items()
            for method, handler in instrumented(name, each, recorder).items()
        }

    def _new_window(self) -> Window:
        return Window(
            max_requests=self._config.max_stream_requests,
            max_bytes=self._config.max_stream_bytes,
            max_unread_bytes=self._config.max_stream_unread_bytes,
        )

    def _update_health(self) -> None:
        """Report a model, and a service with a model of its tasks, as SERVING unless it hangs."""
        engines = self._models.all()
        ready = {engine.manifest.task for engine in engines if not engine.stalled}
        serving = {engine.name: not engine.stalled for engine in engines}
        serving |= {name: not tasks or bool(tasks & ready) for name, tasks in SERVICES.items()}
        self._health.update({**serving, SERVER: bool(engines)})
