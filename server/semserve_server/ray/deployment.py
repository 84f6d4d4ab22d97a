"""A deployment of Ray Serve that answers `semserve.v1` and `grpc.health.v1.Health/Check`.

The gRPC proxy of Ray Serve passes each message on as bytes. A replica parses and answers it with
the handlers of the server, so that replies, statuses and their details are the server's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc
import ray
from grpc_health.v1 import health
from ray import serve
from semserve.v1 import (
    classification_pb2,
    embedding_pb2,
    model_pb2,
    score_pb2,
    similarity_pb2,
)

from semserve_server.errors import ConfigError
from semserve_server.ray.call_context import Bytes, CallContext, StreamContext, answer_call
from semserve_server.ray.replica_services import ReplicaServices, replica_config
from semserve_server.rpc.handlers import Handlers
from semserve_server.supervision.watchdog import CHECK_SECONDS

MAX_ONGOING_REQUESTS = 1024
"""Most calls that a replica answers at a time. Ray Serve's own default of 5 prevents batches."""
_SCHEMAS = (embedding_pb2, classification_pb2, similarity_pb2, score_pb2, model_pb2)
METHODS: dict[str, dict[str, bool]] = {
    service.full_name: {method.name: method.client_streaming for method in service.methods}
    for schema in _SCHEMAS
    for service in schema.DESCRIPTOR.services_by_name.values()
} | {health.SERVICE_NAME: {"Check": False}}
"""Whether each method is a stream, by service and name."""


def add_services_to_server(servicer: Any, server: Any) -> None:
    """Register the methods with a gRPC server, as the proxies of Ray Serve ask for it.

    Name this function in `grpc_servicer_functions` of Ray Serve's options.

    Args:
        servicer: has the methods.
        server: a gRPC server.
    """
    for service, methods in METHODS.items():
        # Without a deserializer, the proxy passes bytes on.
        handlers: Handlers = {
            name: grpc.stream_stream_rpc_method_handler(getattr(servicer, name))
            if streaming
            else grpc.unary_unary_rpc_method_handler(getattr(servicer, name))
            for name, streaming in methods.items()
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))


class Semserve:
    """One replica: loads the bundles, and answers calls."""

    async def __init__(self, models: str, settings: Mapping[str, Any]) -> None:  # type: ignore[misc]  # Ray Serve awaits it
        """Load the bundles.

        Args:
            models: directory of bundles, or one bundle, on this machine.
            settings: as the server's flags of the same names.

        Raises:
            StartupError: a bundle or a setting is invalid.
        """
        given = ray.get_runtime_context().get_assigned_resources()
        gpus, cpus = given.get("GPU", 0), max(int(given.get("CPU", 1)), 1)
        chosen = {"device": "cuda"} if gpus else {"device": "cpu", "batch_workers": cpus}
        self._services = ReplicaServices(replica_config(models, {**chosen, **settings}))
        await self._services.load()

    async def check_health(self) -> None:
        """Ray Serve replaces a replica whose check fails.

        Raises:
            EngineFailed: a thread died or hangs.
        """
        self._services.check()

    async def _unary(self, name: str, content: bytes, context: Any) -> Bytes:
        handler = self._services.handlers[name]
        call = CallContext(context, self._services.max_message_bytes)
        return Bytes(await answer_call(handler, content, call))

    async def _stream(
        self, name: str, messages: AsyncIterator[bytes], context: Any
    ) -> AsyncIterator[Bytes]:
        stream = StreamContext(context, self._services.max_message_bytes, messages)
        async for reply in stream.replies(self._services.handlers[name]):
            yield Bytes(reply)


def _add_method(name: str, *, streaming: bool) -> None:
    """Give replicas a method for an RPC: Ray Serve finds it by name."""

    async def unary(self: Semserve, content: bytes, grpc_context: Any) -> Bytes:
        return await self._unary(name, content, grpc_context)

    async def stream(self: Semserve, messages: Any, grpc_context: Any) -> AsyncIterator[Bytes]:
        async for reply in self._stream(name, messages, grpc_context):
            yield reply

    method = stream if streaming else unary
    method.__name__ = name
    setattr(Semserve, name, method)


for _methods in METHODS.values():
    for _name, _streaming in _methods.items():
        _add_method(_name, streaming=_streaming)


def app(arguments: dict[str, Any]) -> Any:
    """Build the application for `serve run` and `serve deploy`.

    Args:
        arguments: `models`, a directory of bundles, and settings as the server's flags of the same
            names.

    Raises:
        ConfigError: `models` is missing, or a setting is invalid.
    """
    settings = dict(arguments)
    models = settings.pop("models", None)
    if not isinstance(models, str):
        raise ConfigError("models: name the directory of the bundles")
    replica_config(models, settings)
    deployment = serve.deployment(
        Semserve,
        name="Semserve",
        max_ongoing_requests=MAX_ONGOING_REQUESTS,
        health_check_period_s=CHECK_SECONDS,
    )
    return deployment.bind(models, settings)
