"""ScoreService: pairs or texts to one number each, and documents sorted by it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from semserve.v1 import score_pb2

from semserve_server.engine import Engine
from semserve_server.errors import InvalidRequest, Violation
from semserve_server.registry.registry import Models
from semserve_server.rpc import encoding as wire
from semserve_server.rpc.handlers import Context, Handlers, unary
from semserve_server.runtime.tokenizer import Item
from semserve_server.services import validation as checks
from semserve_server.services.execution import ITEM_BYTES, Done, Work, run
from semserve_server.services.scores import SCORES, top
from semserve_server.services.similarity import HIT_BYTES
from semserve_server.services.validation import Limits

MAX_RERANK_CHARACTERS = 4_194_304
"""Most characters of all pairs of one Rerank request. The query is in every pair, so a small
message could ask for much more text to be tokenised than Score takes in a message of 4 MiB."""


class ScoreService:
    """Score and Rerank."""

    name = "semserve.v1.ScoreService"

    def __init__(self, models: Models, limits: Limits) -> None:
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
        """Answer with a serialized ScoreResponse: the score of each pair or text."""
        engine = self._models.for_task("score", request.model)
        done = await run(engine, self._work(request, engine), context)
        parts = [wire.packed_floats(2, _scores(engine, done)), *_tail(done)]
        for place, outcome in enumerate(done.outcomes):
            if outcome.error is not None:
                error = score_pb2.ScoreError(index=place, error=outcome.error)
                parts.append(wire.delimited(5, error.SerializeToString()))
        return wire.delimited(1, engine.name.encode()) + b"".join(parts)

    async def rerank(self, request: score_pb2.RerankRequest, context: Context) -> bytes:
        """Answer with a serialized RerankResponse: the best documents, best first."""
        engine = self._models.for_task("score", request.model)
        if not engine.manifest.pair:
            raise InvalidRequest.of("model", f"{engine.name!r} scores single texts, not pairs")
        size = len(request.documents)
        checks.count("documents", size, self._limits)
        top_k = checks.within("top_k", request.top_k) if request.HasField("top_k") else size
        documents = [(f"documents[{place}]", one) for place, one in enumerate(request.documents)]
        checks.texts([("query", request.query), *documents], self._limits)
        _check_characters(request)
        work = Work(
            items=[(request.query, document) for document in request.documents],
            field="documents",
            violations={},
            truncation=checks.truncation(request.truncation, engine.manifest.truncation),
            allow_partial=False,
            reply_bytes=HIT_BYTES * min(top_k, size) + ITEM_BYTES,
        )
        done = await run(engine, work, context)
        scores = _scores(engine, done)
        best = top(scores, top_k)
        head = wire.delimited(1, engine.name.encode())
        return head + wire.hits(2, best, scores[best]) + b"".join(_tail(done))

    def _work(self, request: score_pb2.ScoreRequest, engine: Engine) -> Work:
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
        return Work(
            items=items,
            field=field,
            violations=violations,
            truncation=checks.truncation(request.truncation, engine.manifest.truncation),
            allow_partial=request.allow_partial,
            reply_bytes=len(items) * ITEM_BYTES,
        )

    def _wrong(self, path: str, item: Item) -> Violation | None:
        """Tell what is wrong with a text, or with the first bad text of a pair."""
        sides = ((path, item),) if isinstance(item, str) else _sides(path, item)
        for name, text in sides:
            if wrong := checks.text(text, self._limits):
                return Violation(name, wrong)
        return None


def _sides(path: str, pair: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    return (f"{path}.left", pair[0]), (f"{path}.right", pair[1])


def _check_characters(request: score_pb2.RerankRequest) -> None:
    """Refuse a query that is too long for so many documents.

    Raises:
        InvalidRequest: naming both fields and the bound.
    """
    size = len(request.query) * len(request.documents) + sum(map(len, request.documents))
    if size > MAX_RERANK_CHARACTERS:
        wrong = (
            f"the query with each of {len(request.documents)} documents has {size} characters, "
            f"at most {MAX_RERANK_CHARACTERS} a request: send several"
        )
        raise InvalidRequest(Violation("query", wrong), Violation("documents", wrong))


def _scores(engine: Engine, done: Done) -> NDArray[np.float32]:
    """Return the score of every item: float32 [items], NaN where there is none."""
    scores = np.full(len(done.outcomes), np.nan, np.float32)
    if done.inference:
        made = SCORES[engine.manifest.scores or "none"](done.inference.rows)[:, 0]
        for place, outcome in enumerate(done.outcomes):
            if outcome.row is not None:
                scores[place] = made[outcome.row]
    return scores


def _tail(done: Done) -> tuple[bytes, bytes]:
    """Write the usage and the truncated tokens, as ScoreResponse and RerankResponse have them."""
    return wire.delimited(3, done.usage), wire.number(4, done.truncated_tokens)
