"""SimilarityService: arithmetic over the vectors of an embedding model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from semserve.v1 import similarity_pb2

from semserve_server.engine import Engine
from semserve_server.errors import InvalidRequest
from semserve_server.instrumentation.request_context import current
from semserve_server.registry.registry import Models
from semserve_server.rpc import encoding as wire
from semserve_server.rpc.handlers import Context, Handlers, unary
from semserve_server.runtime.tokenizer import Truncation
from semserve_server.services import validation as checks
from semserve_server.services.execution import ITEM_BYTES, Work, run
from semserve_server.services.scores import Rows, pair_scores, scores_in_pieces, top
from semserve_server.services.scoring_thread import ScoringThread
from semserve_server.services.validation import Limits

DEFAULT_TOP_K = 10
"""Hits of a query where the request does not say."""
MAX_HITS = 131_072
"""Most hits of one answer: some 1.7 MB."""
HIT_BYTES = 15
"""Most bytes of a serialized hit."""
PAIRS_AT_A_TIME = 1024
"""Pairs of one piece of work: of 384 dimensions some 2 ms."""


class SimilarityService:
    """Compare, Rank, Search and Matrix."""

    name = "semserve.v1.SimilarityService"

    def __init__(self, models: Models, limits: Limits, scorer: ScoringThread) -> None:
        self._models = models
        self._limits = limits
        self._scorer = scorer

    def handlers(self) -> Handlers:
        """Return a handler for each RPC of the service."""
        most = self._limits.max_texts
        return {
            "Compare": unary(similarity_pb2.CompareRequest, self.compare, max_fields=most),
            "Rank": unary(similarity_pb2.RankRequest, self.rank, max_fields=most),
            "Search": unary(similarity_pb2.SearchRequest, self.search, max_fields=most),
            "Matrix": unary(similarity_pb2.MatrixRequest, self.matrix, max_fields=most),
        }

    async def compare(self, request: similarity_pb2.CompareRequest, context: Context) -> bytes:
        """Answer with the score of each pair."""
        size = len(request.pairs)
        checks.count("pairs", size, self._limits)
        checks.total({"pairs": 2 * size}, self._limits)
        checks.scores(self._limits, ("pairs", size))
        fields = [
            (f"pairs[{place}].{side}", text)
            for place, pair in enumerate(request.pairs)
            for side, text in (("left", pair.left), ("right", pair.right))
        ]
        asked = self._asked(request, fields, scores=size, reply_bytes=4 * size)

        def pieces(vectors: _Vectors) -> Iterator[bytes]:
            for at in range(0, size, PAIRS_AT_A_TIME):
                end = min(at + PAIRS_AT_A_TIME, size)
                left, right = vectors.rows(2 * at, 2 * end, 2), vectors.rows(2 * at + 1, 2 * end, 2)
                # A packed field may come in parts, which a parser puts together.
                yield wire.packed_floats(2, pair_scores(left, right, asked.metric))

        return await self._answer(asked, pieces, context)

    async def rank(self, request: similarity_pb2.RankRequest, context: Context) -> bytes:
        """Answer with the documents, best first."""
        size = len(request.documents)
        checks.count("documents", size, self._limits)
        checks.total({"query": 1, "documents": size}, self._limits)
        checks.scores(self._limits, ("documents", size))
        top_k = checks.within("top_k", request.top_k) if request.HasField("top_k") else size
        top_k = min(top_k, size)
        fields = [("query", request.query), *_paths("documents", request.documents)]
        asked = self._asked(request, fields, scores=size, reply_bytes=HIT_BYTES * top_k)

        def pieces(vectors: _Vectors) -> Iterator[bytes]:
            query, documents = vectors.rows(0, 1), vectors.rows(1)
            for some in scores_in_pieces(query, documents, asked.metric):
                yield _hits(2, some[0], top_k)

        return await self._answer(asked, pieces, context)

    async def search(self, request: similarity_pb2.SearchRequest, context: Context) -> bytes:
        """Answer with the best texts of the corpus for each query."""
        queries, corpus = len(request.queries), len(request.corpus)
        checks.count("queries", queries, self._limits)
        checks.count("corpus", corpus, self._limits)
        counts = {"queries": queries, "corpus": corpus}
        checks.total(counts, self._limits)
        scores = checks.scores(self._limits, *counts.items())
        top_k = self._top_k(request, queries, corpus)
        fields = [*_paths("queries", request.queries), *_paths("corpus", request.corpus)]
        reply_bytes = queries * (HIT_BYTES * top_k + ITEM_BYTES)
        asked = self._asked(request, fields, scores=scores, reply_bytes=reply_bytes)

        def pieces(vectors: _Vectors) -> Iterator[bytes]:
            left, right = vectors.rows(0, queries), vectors.rows(queries)
            for some in scores_in_pieces(left, right, asked.metric):
                yield b"".join(wire.delimited(2, _hits(1, row, top_k)) for row in some)

        return await self._answer(asked, pieces, context)

    async def matrix(self, request: similarity_pb2.MatrixRequest, context: Context) -> bytes:
        """Answer with the score of every left text with every right one."""
        left, right = len(request.left), len(request.right)
        checks.count("left", left, self._limits)
        if right:
            checks.count("right", right, self._limits)
            checks.total({"left": left, "right": right}, self._limits)
        scores = checks.scores(
            self._limits, ("left", left), ("right", right) if right else ("left", left)
        )
        fields = [*_paths("left", request.left), *_paths("right", request.right)]
        reply_bytes = 4 * scores + ITEM_BYTES * left
        asked = self._asked(request, fields, scores=scores, reply_bytes=reply_bytes)

        def pieces(vectors: _Vectors) -> Iterator[bytes]:
            columns = vectors.rows(left if right else 0)
            for some in scores_in_pieces(vectors.rows(0, left), columns, asked.metric):
                yield wire.matrix_rows(some)

        return await self._answer(asked, pieces, context)

    def _top_k(self, request: similarity_pb2.SearchRequest, queries: int, corpus: int) -> int:
        top_k = min(DEFAULT_TOP_K, corpus)
        if request.HasField("top_k"):
            top_k = min(checks.within("top_k", request.top_k), corpus)
            if queries * top_k > MAX_HITS:
                raise InvalidRequest.of(
                    "top_k", f"{queries} queries of {top_k} hits, at most {MAX_HITS} in all"
                )
        return top_k

    def _asked(
        self,
        request: _Request,
        fields: Sequence[tuple[str, str]],
        *,
        scores: int,
        reply_bytes: int,
    ) -> _Asked:
        """Check the texts of a request, and find its model and metric.

        Args:
            request: for its model and metric.
            fields: path and text, in the order of the rows that the scores are made from.
            scores: how many there will be.
            reply_bytes: what the answer will have, or more.
        """
        engine = self._models.for_task("embedding", request.model)
        metric = checks.metric(request.metric, engine.manifest.metric or "cosine")
        checks.texts(fields, self._limits)
        texts = [text for _, text in fields]
        times = Counter(texts)
        places = {text: place for place, text in enumerate(times)}
        work = Work(
            items=list(times),
            field="texts",
            violations={},
            truncation=Truncation.END,
            allow_partial=False,
            reply_bytes=reply_bytes + ITEM_BYTES,
            times=list(times.values()),
            scores=scores,
        )
        return _Asked(engine, metric, work, [places[text] for text in texts])

    async def _answer(
        self, asked: _Asked, pieces: Callable[[_Vectors], Iterator[bytes]], context: Context
    ) -> bytes:
        """Embed the texts of a request, each different one once, and compute its scores.

        Args:
            asked: what the request asks for.
            pieces: makes the scores' part of the answer, piece by piece, from the texts' vectors.
            context: of the call.

        Returns:
            The serialized answer.
        """
        engine, scores = asked.engine, asked.work.scores
        operations = scores * engine.manifest.outputs
        current().model = engine.counters
        with self._scorer.room(scores, operations, seconds=context.time_remaining()):
            done = await run(engine, asked.work, context)
            if done.inference is None:
                raise ValueError("a request without texts passed its checks. This is a bug.")
            started = perf_counter()
            head, tail = wire.delimited(1, engine.name.encode()), wire.delimited(3, done.usage)
            vectors = _Vectors(done.inference.rows, asked.places)
            reply = await self._scorer.compute(
                chain((head,), pieces(vectors), (tail,)),
                operations=operations,
                seconds=context.time_remaining(),
            )
        engine.counters.observe_scores(scores, perf_counter() - started)
        return reply


_Request = (
    similarity_pb2.CompareRequest
    | similarity_pb2.RankRequest
    | similarity_pb2.SearchRequest
    | similarity_pb2.MatrixRequest
)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request that has passed its checks."""

    engine: Engine
    metric: str
    work: Work
    """Its different texts."""
    places: list[int]
    """The place of each of its texts among the different ones."""


class _Vectors:
    """The vectors of a request's texts, in their order. Copied only as they are needed."""

    def __init__(self, different: Rows, places: Sequence[int]) -> None:
        """Keep the vectors of the different texts, and where each text's is."""
        self._different = different
        self._places = places

    def rows(self, begin: int, end: int | None = None, step: int = 1) -> Rows:
        """Return the vectors of some of the texts, as slicing them does."""
        return self._different[self._places[begin:end:step]]


def _paths(name: str, texts: Iterable[str]) -> Iterable[tuple[str, str]]:
    return ((f"{name}[{place}]", text) for place, text in enumerate(texts))


def _hits(field: int, scores: NDArray[np.float32], k: int) -> bytes:
    best = top(scores, k)
    return wire.hits(field, best, scores[best])
