"""SimilarityService: arithmetic over the vectors of an embedding model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from semserve.v1 import common_pb2, similarity_pb2

from semserve_server import similarity
from semserve_server.errors import InvalidRequest
from semserve_server.models import Models
from semserve_server.services import checks
from semserve_server.services.checks import Limits
from semserve_server.services.rpc import Context, Handlers, unary
from semserve_server.services.work import Work, run
from semserve_server.tokenizer import Truncation

DEFAULT_TOP_K = 10
"""Hits of a query where the request does not say."""
MAX_HITS = 131_072
"""Most hits of one answer: filling so many messages takes a third of a second."""
INLINE_SCORES = 1024
"""Answers of so few scores are computed on the event loop; handing them to a thread costs more."""

_Response = TypeVar("_Response")


class SimilarityService:
    """Compare, Rank, Search and Matrix."""

    name = "semserve.v1.SimilarityService"

    def __init__(self, models: Models, limits: Limits) -> None:
        self._models = models
        self._limits = limits

    def handlers(self) -> Handlers:
        """Return a handler for each RPC of the service."""
        return {
            "Compare": unary(similarity_pb2.CompareRequest, self.compare),
            "Rank": unary(similarity_pb2.RankRequest, self.rank),
            "Search": unary(similarity_pb2.SearchRequest, self.search),
            "Matrix": unary(similarity_pb2.MatrixRequest, self.matrix),
        }

    async def compare(
        self, request: similarity_pb2.CompareRequest, context: Context
    ) -> similarity_pb2.CompareResponse:
        """Answer with the score of each pair."""
        size = len(request.pairs)
        checks.count("pairs", size, self._limits)
        fields = [
            (f"pairs[{place}].{side}", text)
            for place, pair in enumerate(request.pairs)
            for side, text in (("left", pair.left), ("right", pair.right))
        ]
        vectors = await self._embed(request, fields, context)

        def respond() -> similarity_pb2.CompareResponse:
            left, right = vectors.rows[::2], vectors.rows[1::2]
            scores = similarity.pair_scores(left, right, vectors.metric).tolist()
            return similarity_pb2.CompareResponse(
                model=vectors.model, scores=scores, usage=vectors.usage
            )

        return await _off_the_loop(size, respond)

    async def rank(
        self, request: similarity_pb2.RankRequest, context: Context
    ) -> similarity_pb2.RankResponse:
        """Answer with the documents, best first."""
        size = len(request.documents)
        checks.count("documents", size, self._limits)
        top_k = checks.within("top_k", request.top_k) if request.HasField("top_k") else size
        fields = [("query", request.query), *_paths("documents", request.documents)]
        vectors = await self._embed(request, fields, context)

        def respond() -> similarity_pb2.RankResponse:
            scores = similarity.scores(vectors.rows[:1], vectors.rows[1:], vectors.metric)
            return similarity_pb2.RankResponse(
                model=vectors.model, hits=_hits(scores[0], top_k), usage=vectors.usage
            )

        return await _off_the_loop(size, respond)

    async def search(
        self, request: similarity_pb2.SearchRequest, context: Context
    ) -> similarity_pb2.SearchResponse:
        """Answer with the best texts of the corpus for each query."""
        queries, corpus = len(request.queries), len(request.corpus)
        checks.count("queries", queries, self._limits)
        checks.count("corpus", corpus, self._limits)
        top_k = DEFAULT_TOP_K
        if request.HasField("top_k"):
            top_k = min(checks.within("top_k", request.top_k), corpus)
            if queries * top_k > MAX_HITS:
                raise InvalidRequest.of(
                    "top_k", f"{queries} queries of {top_k} hits, at most {MAX_HITS} in all"
                )
        fields = [*_paths("queries", request.queries), *_paths("corpus", request.corpus)]
        vectors = await self._embed(request, fields, context)

        def respond() -> similarity_pb2.SearchResponse:
            left, right = vectors.rows[:queries], vectors.rows[queries:]
            scores = similarity.scores(left, right, vectors.metric)
            results = [similarity_pb2.SearchResult(hits=_hits(row, top_k)) for row in scores]
            return similarity_pb2.SearchResponse(
                model=vectors.model, results=results, usage=vectors.usage
            )

        return await _off_the_loop(queries * corpus, respond)

    async def matrix(
        self, request: similarity_pb2.MatrixRequest, context: Context
    ) -> similarity_pb2.MatrixResponse:
        """Answer with the score of every left text with every right one."""
        left, right = len(request.left), len(request.right)
        checks.count("left", left, self._limits)
        if right:
            checks.count("right", right, self._limits)
        fields = [*_paths("left", request.left), *_paths("right", request.right)]
        vectors = await self._embed(request, fields, context)

        def respond() -> similarity_pb2.MatrixResponse:
            columns = vectors.rows[left:] if right else vectors.rows
            scores = similarity.scores(vectors.rows[:left], columns, vectors.metric)
            rows = [similarity_pb2.MatrixRow(scores=row) for row in scores.tolist()]
            return similarity_pb2.MatrixResponse(
                model=vectors.model, rows=rows, usage=vectors.usage
            )

        return await _off_the_loop(left * (right or left), respond)

    async def _embed(
        self, request: _Request, fields: Sequence[tuple[str, str]], context: Context
    ) -> _Vectors:
        """Check and embed the texts of a request, each different one once.

        Args:
            request: for its model and metric.
            fields: path and text, in the order of the rows to return.
            context: of the call.
        """
        engine = self._models.for_task("embedding", request.model)
        metric = checks.metric(request.metric, engine.manifest.metric or "cosine")
        checks.texts(fields, self._limits)
        texts = [text for _, text in fields]
        places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        work = Work(
            items=list(places),
            field="texts",
            violations={},
            truncation=Truncation.END,
            allow_partial=False,
        )
        done = await run(engine, work, context)
        if done.inference is None:
            raise ValueError("a request without texts passed its checks. This is a bug.")
        rows = done.inference.rows[[places[text] for text in texts]]
        usage = common_pb2.Usage.FromString(done.usage)
        return _Vectors(engine.name, rows, metric, usage)


_Request = (
    similarity_pb2.CompareRequest
    | similarity_pb2.RankRequest
    | similarity_pb2.SearchRequest
    | similarity_pb2.MatrixRequest
)


@dataclass(frozen=True, slots=True)
class _Vectors:
    """The vectors of a request's texts, with what the answer needs beside them."""

    model: str
    rows: NDArray[np.float32]
    metric: str
    usage: common_pb2.Usage


async def _off_the_loop(scores: int, respond: Callable[[], _Response]) -> _Response:
    """Compute an answer of so many scores, on a thread where it takes longer than getting there."""
    return respond() if scores <= INLINE_SCORES else await asyncio.to_thread(respond)


def _paths(name: str, texts: Iterable[str]) -> Iterable[tuple[str, str]]:
    return ((f"{name}[{place}]", text) for place, text in enumerate(texts))


def _hits(scores: NDArray[np.float32], k: int) -> list[similarity_pb2.Hit]:
    return [
        similarity_pb2.Hit(index=int(index), score=float(scores[index]))
        for index in similarity.top(scores, k)
    ]
