"""The reply of GetServerInfo: the version, the limits of requests, the default models."""

from __future__ import annotations

from dataclasses import dataclass

from semserve.v1 import model_pb2

from semserve_server import __version__
from semserve_server.errors import InvalidRequest, NotReady
from semserve_server.registry.registry import ModelRegistry
from semserve_server.services.similarity import DEFAULT_TOP_K, MAX_HITS
from semserve_server.services.validation import Limits

TASKS = {
    "embedding": model_pb2.TASK_EMBEDDING,
    "classification": model_pb2.TASK_CLASSIFICATION,
    "score": model_pb2.TASK_SCORE,
    "sparse_embedding": model_pb2.TASK_SPARSE_EMBEDDING,
}
"""Task of a manifest to the enum value of the API."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportLimits:
    """Limits of messages and replies of all RPCs."""

    max_message_bytes: int
    """Most bytes of a request."""
    max_stream_requests: int
    """Most messages of a stream in flight."""
    max_unread_bytes: int
    """Most bytes of unread replies, over all connections."""


def server_info(
    models: ModelRegistry, limits: Limits, transport: TransportLimits
) -> model_pb2.GetServerInfoResponse:
    """Describe the server, as far as the caller may see it.

    Raises:
        Draining: the server is stopping.
    """
    return model_pb2.GetServerInfoResponse(
        version=__version__,
        limits=model_pb2.ServerLimits(
            max_request_texts=limits.max_texts,
            max_text_bytes=limits.max_text_bytes,
            max_request_scores=limits.max_scores,
            max_tokenize_bytes=limits.max_tokenize_bytes,
            max_message_bytes=transport.max_message_bytes,
            max_stream_requests=transport.max_stream_requests,
            max_unread_bytes=transport.max_unread_bytes,
            max_hits=MAX_HITS,
        ),
        default_models=_default_models(models),
        default_top_k=DEFAULT_TOP_K,
        allow_model_control=models.control is not None,
    )


def _default_models(models: ModelRegistry) -> list[model_pb2.DefaultModel]:
    found = []
    for task, number in TASKS.items():
        try:
            engine = models.for_task(task, "")
        except (InvalidRequest, NotReady):
            continue
        found.append(model_pb2.DefaultModel(task=number, model=engine.name))
    return found
