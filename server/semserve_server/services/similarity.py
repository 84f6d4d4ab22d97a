"""SimilarityService: arithmetic over the vectors of an embedding model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from semserve.v1 import common_pb2, similarity_pb2

from semserve_server import similarity
from semserve_server.models import Models
from semserve_server.services import checks
from semserve_server.services.checks import Limits
from semserve_server.services.rpc import Context, Handlers, unary
from semserve_server.services.work import Work, run
from semserve_server.tokenizer import Truncation

DEFAULT_TOP_K = 10
"""Hits of a query where the request does not say."""


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
        fields = {
            f"pairs[{place}].{side}": getattr(pair, side)
            for place, pair in enumerate(request.pairs)
            for side in ("left", "right")
        }
        vectors = await self._embed(request, {"pairs": len(request.pairs)}, fields, context)
        scores = similarity.pair_scores(vectors.rows[::2], vectors.rows[1::2], vectors.metric)
        return similarity_pb2.CompareResponse(
            model=vectors.model, scores=scores.tolist(), usage=vectors.usage
        )

    async def rank(
        self, request: similarity_pb2.RankRequest, context: Context
    ) -> similarity_pb2.RankResponse:
        """Answer with the documents, best first."""
        size = len(request.documents)
        top_k = checks.within("top_k", request.top_k) if request.HasField("top_k") else size
        fields = {"query": request.query} | _fields("documents", request.documents)
        vectors = await self._embed(request, {"documents": size}, fields, context)
        scores = similarity.scores(vectors.rows[:1], vectors.rows[1:], vectors.metric)
        return similarity_pb2.RankResponse(
            model=vectors.model, hits=_hits(scores[0], top_k), usage=vectors.usage
        )

    async def search(
        self, request: similarity_pb2.SearchRequest, context: Context
    ) -> similarity_pb2.SearchResponse:
        """Answer with the best texts of the corpus for each query."""
        queries = len(request.queries)
        top_k = (
            checks.within("top_k", request.top_k) if request.HasField("top_k") else DEFAULT_TOP_K
        )
        fields = _fields("queries", request.queries) | _fields("corpus", request.corpus)
        sizes = {"queries": queries, "corpus": len(request.corpus)}
        vectors = await self._embed(request, sizes, fields, context)
        scores = similarity.scores(vectors.rows[:queries], vectors.rows[queries:], vectors.metric)
        return similarity_pb2.SearchResponse(
            model=vectors.model,
            results=[similarity_pb2.SearchResult(hits=_hits(row, top_k)) for row in scores],
            usage=vectors.usage,
        )

    async def matrix(
        self, request: similarity_pb2.MatrixRequest, context: Context
    ) -> similarity_pb2.MatrixResponse:
        """Answer with the score of every left text with every right one."""
        left = len(request.left)
        fields = _fields("left", request.left) | _fields("right", request.right)
        vectors = await self._embed(request, {"left": left}, fields, context)
        columns = vectors.rows[left:] if request.right else vectors.rows
        scores = similarity.scores(vectors.rows[:left], columns, vectors.metric)
        return similarity_pb2.MatrixResponse(
            model=vectors.model,
            rows=[similarity_pb2.MatrixRow(scores=row) for row in scores.tolist()],
            usage=vectors.usage,
        )

    async def _embed(
        self,
        request: _Request,
        sizes: Mapping[str, int],
        fields: Mapping[str, str],
        context: Context,
    ) -> _Vectors:
        """Check and embed the texts of a request, each different one once.

        Args:
            request: for its model and metric.
            sizes: how much each repeated field holds; none may be empty.
            fields: path and text, in the order of the rows to return.
            context: of the call.
        """
        engine = self._models.for_task("embedding", request.model)
        metric = checks.metric(request.metric, engine.manifest.metric or "cosine")
        for field, size in sizes.items():
            checks.count(field, size, self._limits)
        checks.count(" + ".join(sizes), len(fields), self._limits)
        checks.texts(fields.items(), self._limits)
        places = {text: place for place, text in enumerate(dict.fromkeys(fields.values()))}
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
        rows = done.inference.rows[[places[text] for text in fields.values()]]
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


def _fields(name: str, texts: Sequence[str]) -> dict[str, str]:
    return {f"{name}[{place}]": text for place, text in enumerate(texts)}


def _hits(scores: NDArray[np.float32], k: int) -> list[similarity_pb2.Hit]:
    return [
        similarity_pb2.Hit(index=int(index), score=float(scores[index]))
        for index in similarity.top(scores, k)
    ]
