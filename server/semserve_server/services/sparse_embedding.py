"""EmbedSparse: texts to weights of tokens of the vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from semserve.v1 import embedding_pb2

from semserve_server.engine import Engine
from semserve_server.registry.registry import ModelRegistry
from semserve_server.rpc import encoding as wire
from semserve_server.rpc.handlers import Context
from semserve_server.services import validation as checks
from semserve_server.services.execution import (
    ITEM_BYTES,
    InferenceRequest,
    InferenceResult,
    execute,
)
from semserve_server.services.prompts import prompt_text
from semserve_server.services.scoring_thread import ScoringThread
from semserve_server.services.validation import Limits

OPERATIONS_OF_A_TEXT = 15_000
"""Cost of writing the result of a text, in operations of the scoring thread: about 30 us."""
OPERATIONS_OF_A_WEIGHT = 10
"""Additional cost of each weight: about 20 ns."""
OPERATIONS_OF_A_TOKEN = 250
"""Additional cost of each weight if its token is written too: about 0.5 us."""
USUAL_WEIGHTS = 512
"""Expected weights of a text before it is embedded; SPLADE models give 50 to 300."""


class SparseEmbedding:
    """The RPC EmbedSparse of EmbeddingService."""

    def __init__(self, models: ModelRegistry, limits: Limits, scorer: ScoringThread) -> None:
        self._models = models
        self._limits = limits
        self._scorer = scorer

    async def embed_sparse(
        self, request: embedding_pb2.EmbedSparseRequest, context: Context
    ) -> bytes:
        """Return a serialized EmbedSparseResponse."""
        engine = self._models.for_task("sparse_embedding", request.model)
        inference = self._inference_request(request, engine)
        token = engine.tokenizer.token if request.include_tokens else None
        usual = len(inference.items) * min(inference.most_weights, USUAL_WEIGHTS)
        expected = _operations(len(inference.items), usual, tokens=request.include_tokens)
        seconds = context.time_remaining()
        with self._scorer.room(len(inference.items), expected, seconds=seconds):
            result = await execute(engine, inference, context)
            rows = result.inference.sparse.values() if result.inference else ()
            weights = sum(len(row.values) for row in rows)
            return await self._scorer.compute(
                _pieces(engine.name, result, token),
                operations=_operations(
                    len(inference.items), weights, tokens=request.include_tokens
                ),
                seconds=context.time_remaining(),
            )

    def _inference_request(
        self, request: embedding_pb2.EmbedSparseRequest, engine: Engine
    ) -> InferenceRequest:
        checks.count("texts", len(request.texts), self._limits)
        vocabulary = engine.manifest.outputs
        most = vocabulary
        if request.HasField("top_k"):
            most = min(checks.within("top_k", request.top_k), vocabulary)
        prompt = prompt_text(engine.manifest, request)
        weight_bytes = wire.weight_bytes(vocabulary)
        if request.include_tokens:
            weight_bytes += wire.FIELD_BYTES + engine.tokenizer.longest_token
        return InferenceRequest(
            items=[prompt + text for text in request.texts],
            field="texts",
            violations=checks.text_violations("texts", request.texts, self._limits),
            truncation=checks.truncation(request.truncation, engine.manifest.truncation),
            allow_partial=request.allow_partial,
            reply_bytes=len(request.texts) * (most * weight_bytes + ITEM_BYTES),
            most_weights=most,
        )


def _operations(texts: int, weights: int, *, tokens: bool) -> int:
    each = OPERATIONS_OF_A_WEIGHT + (OPERATIONS_OF_A_TOKEN if tokens else 0)
    return texts * OPERATIONS_OF_A_TEXT + weights * each


def _pieces(
    model: str, result: InferenceResult, token: Callable[[int], str] | None
) -> Iterator[bytes]:
    """Serialize the reply, one text at a time."""
    rows = result.inference.sparse if result.inference else {}
    yield wire.delimited(1, model.encode())
    for item in result.items:
        row = None if item.row is None else rows[item.row]
        yield wire.delimited(2, wire.sparse_result(row, item, token))
    yield wire.delimited(3, result.usage)
