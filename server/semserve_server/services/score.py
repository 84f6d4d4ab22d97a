"""ScoreService: one number for each pair or text, and documents sorted by it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from semserve.v1 import score_pb2

from semserve_server.engine import Engine
from semserve_server.errors import InvalidRequest, Violation
from semserve_server.registry.registry import ModelRegistry
from semserve_server.rpc import encoding as wire
from semserve_server.rpc.handlers import Context, Handlers, unary
from semserve_server.runtime.tokenizer import Item
from semserve_server.services import validation as checks
from semserve_server.services.execution import (
    ITEM_BYTES,
    InferenceRequest,
    InferenceResult,
    execute,
)
from semserve_server.services.scores import SCORES, top
from semserve_server.services.similarity import HIT_BYTES
from semserve_server.services.validation import Limits

MAX_RERANK_CHARACTERS = 4_194_304
"""Most characters of all pairs of one Rerank request. Each pair contains the query, so without
this limit a small message could cause more tokenisation than a Score message of 4 MiB."""


class ScoreService:
    """Score and Rerank."""

    name = "semserve.v1.ScoreService"

    def __init__(self, models: ModelRegistry, limits: Limits) -> None:
        self._models = models
        self._limits = limits

    def handlers(self) -> Handlers:
        """Return a handler for each RPC of the service."""
        most = self._limits.max_texts
        return {
            "Score": unary(score_pb2.ScoreRequest, self.score, max_fields=most),
            "Rerank": unary(score_pb2.RerankRequest, self.rerank, max_fields=most),
        }

    async def score(self, request: score_pb2.ScoreRequest, context: Context) -> bytes:
        """Return a serialized ScoreResponse: the score of each pair or text."""
        engine = self._models.for_task("score", request.model)
        result = await execute(engine, self._inference_request(request, engine), context)
        parts = [wire.packed_floats(2, _scores(engine, result)), *_tail(result)]
        for place, item in enumerate(result.items):
            if item.error is not None:
                error = score_pb2.ScoreError(index=place, error=item.error)
                parts.append(wire.delimited(5, error.SerializeToString()))
        return wire.delimited(1, engine.name.encode()) + b"".join(parts)

    async def rerank(self, request: score_pb2.RerankRequest, context: Context) -> bytes:
        """Return a serialized RerankResponse: the best documents, best first."""
        engine = self._models.for_task("score", request.model)
        if not engine.manifest.pair:
            raise InvalidRequest.of("model", f"{engine.name!r} scores single texts and not pairs")
        size = len(request.documents)
        checks.count("documents", size, self._limits)
        top_k = checks.within("top_k", request.top_k) if request.HasField("top_k") else size
        documents = [(f"documents[{place}]", one) for place, one in enumerate(request.documents)]
        checks.texts([("query", request.query), *documents], self._limits)
        _check_characters(request)
        inference = InferenceRequest(
            items=[(request.query, document) for document in request.documents],
            field="documents",
            violations={},
            truncation=checks.truncation(request.truncation, engine.manifest.truncation),
            allow_partial=False,
            reply_bytes=HIT_BYTES * min(top_k, size) + ITEM_BYTES,
        )
        result = await execute(engine, inference, context)
        scores = _scores(engine, result)
        best = top(scores, top_k)
        head = wire.delimited(1, engine.name.encode())
        return head + wire.hits(2, best, scores[best]) + b"".join(_tail(result))

    def _inference_request(
        self, request: score_pb2.ScoreRequest, engine: Engine
    ) -> InferenceRequest:
        pair = engine.manifest.pair
        field, other = ("pairs", "texts") if pair else ("texts", "pairs")
        if getattr(request, other):
            takes = "pairs" if pair else "single texts"
            raise InvalidRequest.of(other, f"is given, but {engine.name} scores {takes}")
        given: Sequence[score_pb2.ScorePair] | Sequence[str] = getattr(request, field)
        checks.count(field, len(given), self._limits)
        items: list[Item] = [
            one if isinstance(one, str) else (one.left, one.right) for one in given
        ]
        violations = {
            place: wrong
            for place, item in enumerate(items)
            if (wrong := self._wrong(f"{field}[{place}]", item))
        }
        return InferenceRequest(
            items=items,
            field=field,
            violations=violations,
            truncation=checks.truncation(request.truncation, engine.manifest.truncation),
            allow_partial=request.allow_partial,
            reply_bytes=len(items) * ITEM_BYTES,
        )

    def _wrong(self, path: str, item: Item) -> Violation | None:
        """Return the violation of a text, or of the first invalid text of a pair."""
        sides = ((path, item),) if isinstance(item, str) else _sides(path, item)
        for name, text in sides:
            if wrong := checks.text(text, self._limits):
                return Violation(name, wrong)
        return None


def _sides(path: str, pair: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    return (f"{path}.left", pair[0]), (f"{path}.right", pair[1])


def _check_characters(request: score_pb2.RerankRequest) -> None:
    """Refuse a query that is too long for the number of documents.

    Raises:
        InvalidRequest: names both fields and the limit.
    """
    size = len(request.query) * len(request.documents) + sum(map(len, request.documents))
    if size > MAX_RERANK_CHARACTERS:
        wrong = (
            f"the query with each of {len(request.documents)} documents has {size} characters, "
            f"at most {MAX_RERANK_CHARACTERS} a request: send several requests"
        )
        raise InvalidRequest(Violation("query", wrong), Violation("documents", wrong))


def _scores(engine: Engine, result: InferenceResult) -> NDArray[np.float32]:
    """Return the score of every item: float32 [items], NaN for an item without a score."""
    scores = np.full(len(result.items), np.nan, np.float32)
    if result.inference:
        made = SCORES[engine.manifest.scores or "none"](result.inference.rows)[:, 0]
        for place, item in enumerate(result.items):
            if item.row is not None:
                scores[place] = made[item.row]
    return scores


def _tail(result: InferenceResult) -> tuple[bytes, bytes]:
    """Serialize the usage and the truncated tokens of a ScoreResponse or RerankResponse."""
    return wire.delimited(3, result.usage), wire.number(4, result.truncated_tokens)
