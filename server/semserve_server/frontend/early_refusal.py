"""Refuses calls of an overloaded model before their message is read.

gRPC for Python reads the message of a unary call before it calls the handler. While a model refuses
requests, its unary methods are therefore handled as streams: the handler first checks whether the
queue would admit the smallest request with this deadline, and reads the message only if it would.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc

from semserve_server.auth.key_store import PRINCIPAL
from semserve_server.errors import Overloaded
from semserve_server.instrumentation.request_context import current
from semserve_server.registry.registry import ModelRegistry
from semserve_server.rpc.handlers import Context, Handler
from semserve_server.rpc.status import abort

TASKS = {
    "/semserve.v1.EmbeddingService/Embed": "embedding",
    "/semserve.v1.EmbeddingService/EmbedSparse": "sparse_embedding",
    "/semserve.v1.ClassificationService/Classify": "classification",
    "/semserve.v1.ScoreService/Score": "score",
    "/semserve.v1.ScoreService/Rerank": "score",
    "/semserve.v1.SimilarityService/Compare": "embedding",
    "/semserve.v1.SimilarityService/Rank": "embedding",
    "/semserve.v1.SimilarityService/Search": "embedding",
    "/semserve.v1.SimilarityService/Matrix": "embedding",
}
"""The methods that always run a model, and the task of the model."""


@dataclass(frozen=True, slots=True)
class EarlyRefusal:
    """Decides for the calls of one method.

    Nothing is refused early if several models have its task: the message names the model.
    """

    models: ModelRegistry
    task: str

    def expected(self) -> bool:
        """Return whether the next call will probably be refused: the one before it was."""
        engine = self.models.only(self.task)
        return engine is not None and engine.refusing

    def handler(self, unary: Handler) -> Handler:
        """Create the handler of a call that will probably be refused, from the usual handler."""
        answer: Any = unary.unary_unary
        # The type of gRPC allows None, which no handler of this server has.
        parse: Callable[[bytes], Any] = unary.request_deserializer  # type: ignore[assignment]

        async def handle(_messages: object, context: Context) -> None:
            try:
                self._check(context)
            except Overloaded as error:
                await abort(context, error)
            content: Any = await context.read()
            if not isinstance(content, bytes):
                return  # the caller has cancelled
            await context.write(await answer(parse(content), context))

        handler: Handler = grpc.stream_stream_rpc_method_handler(handle)
        return handler

    def _check(self, context: Context) -> None:
        engine = self.models.only(self.task)
        if engine is None:
            return
        principal = PRINCIPAL.get(None)
        caller = context.peer() if principal is None else principal.name
        current().model = engine.counters
        engine.check_admission(1, 0, remaining=context.time_remaining(), caller=caller)


def early_refusals(models: ModelRegistry) -> dict[str, EarlyRefusal]:
    """Return what decides for each method that runs a model, by the method's path."""
    return {path: EarlyRefusal(models, task) for path, task in TASKS.items()}
