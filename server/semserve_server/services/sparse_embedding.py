"""EmbedSparse: texts to the weights of tokens of the vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import perf_counter

from semserve.v1 import embedding_pb2

from semserve_server.engine import Engine
from semserve_server.registry.registry import Models
from semserve_server.rpc import encoding as wire
from semserve_server.rpc.handlers import Context
from semserve_server.services import validation as checks
from semserve_server.services.execution import ITEM_BYTES, Done, Work, run
from semserve_server.services.prompts import prompt_text
from semserve_server.services.scoring_thread import ScoringThread
from semserve_server.services.validation import Limits

OPERATIONS_OF_A_TEXT = 15_000
"""What writing the result of a text costs, in operations of the scoring thread: some 30 us."""
OPERATIONS_OF_A_WEIGHT = 10
"""What each weight adds, some 20 ns."""
OPERATIONS_OF_A_TOKEN = 250
"""What each weight adds whose token is written too, some 0.5 us."""
USUAL_WEIGHTS = 512
"""Weights of a text that are expected before it is embedded; SPLADE models give 50 to 300."""


class SparseEmbedding:
    """The RPC EmbedSparse of EmbeddingService."""

    def __init__(self, models: Models, limits: Limits, scorer: ScoringThread) -> None:
        self._models = models
        self._limits = limits
        self._scorer = scorer

    async def embed_sparse(
        self, request: embedding_pb2.EmbedSparseRequest, context: Context
    ) -> bytes:
        """Answer with a serialized EmbedSparseResponse."""
        engine = self._models.for_task("sparse_embedding", request.model)
        work = self._work(request, engine)
        token = engine.tokenizer.token if request.include_tokens else None
        usual = len(work.items) * min(work.most_weights, USUAL_WEIGHTS)
        expected = _operations(len(work.items), usual, tokens=request.include_tokens)
        seconds = context.time_remaining()
        with self._scorer.room(len(work.items), expected, seconds=seconds):
            done = await run(engine, work, context)
            started = perf_counter()
            rows = done.inference.sparse.values() if done.inference else ()
            weights = sum(len(row.values) for row in rows)
            reply = await self._scorer.compute(
                _pieces(engine.name, done, token),
                operations=_operations(len(work.items), weights, tokens=request.include_tokens),
                seconds=context.time_remaining(),
            )
        engine.counters.observe_scores(len(work.items), perf_counter() - started)
        return reply

    def _work(self, request: embedding_pb2.EmbedSparseRequest, engine: Engine) -> Work:
        checks.count("texts", len(request.texts), self._limits)
        vocabulary = engine.manifest.outputs
        most = vocabulary
        if request.HasField("top_k"):
            most = min(checks.within("top_k", request.top_k), vocabulary)
        prompt = prompt_text(engine.manifest, request)
        weight_bytes = wire.weight_bytes(vocabulary)
        if request.include_tokens:
            weight_bytes += wire.FIELD_BYTES + engine.tokenizer.longest_token
        return Work(
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


def _pieces(model: str, done: Done, token: Callable[[int], str] | None) -> Iterator[bytes]:
    """Write the answer, a text at a time."""
    rows = done.inference.sparse if done.inference else {}
    yield wire.delimited(1, model.encode())
    for outcome in done.outcomes:
        row = None if outcome.row is None else rows[outcome.row]
        yield wire.delimited(2, wire.sparse_result(row, outcome, token))
    yield wire.delimited(3, done.usage)
