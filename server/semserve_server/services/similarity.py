"""SimilarityService: scores from the vectors of an embedding model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from semserve.v1 import similarity_pb2

from semserve_server.engine import Engine
from semserve_server.errors import InvalidRequest
from semserve_server.instrumentation.request_context import current
from semserve_server.registry.registry import ModelRegistry
from semserve_server.repository.manifest import Manifest
from semserve_server.rpc import encoding as wire
from semserve_server.rpc.handlers import Context, Handlers, unary
from semserve_server.services import validation as checks
from semserve_server.services.execution import ITEM_BYTES, execute
from semserve_server.services.prompts import prompt_text, second_prompt_text
from semserve_server.services.scores import pair_scores, scores_in_pieces, top
from semserve_server.services.scoring_thread import ScoringThread
from semserve_server.services.similarity_texts import (
    LEFT,
    RIGHT,
    CheckedRequest,
    Text,
    Vectors,
    paths,
    unique_texts,
)
from semserve_server.services.validation import Limits

DEFAULT_TOP_K = 10
"""Hits of a query if the request does not set top_k."""
MAX_HITS = 131_072
"""Most hits of one reply: about 1.7 MB."""
HIT_BYTES = 15
"""Most bytes of a serialized hit."""
PAIRS_AT_A_TIME = 1024
"""Pairs of one piece of work: about 2 ms with 384 dimensions."""


class SimilarityService:
    """Compare, Rank, Search and Matrix."""

    name = "semserve.v1.SimilarityService"

    def __init__(self, models: ModelRegistry, limits: Limits, scorer: ScoringThread) -> None:
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
        """Return the score of each pair."""
        size = len(request.pairs)
        checks.count("pairs", size, self._limits)
        checks.total({"pairs": 2 * size}, self._limits)
        checks.scores(self._limits, ("pairs", size))
        texts = [
            Text(f"pairs[{place}].{name}", text, side)
            for place, pair in enumerate(request.pairs)
            for name, text, side in (("left", pair.left, LEFT), ("right", pair.right, RIGHT))
        ]
        engine = self._engine(request)
        checked = self._check(request, engine, texts, scores=size, reply_bytes=4 * size)

        def pieces(vectors: Vectors) -> Iterator[bytes]:
            for at in range(0, size, PAIRS_AT_A_TIME):
                end = min(at + PAIRS_AT_A_TIME, size)
                left, right = vectors.rows(2 * at, 2 * end, 2), vectors.rows(2 * at + 1, 2 * end, 2)
                # A packed field may be split into parts; a parser concatenates them.
                yield wire.packed_floats(2, pair_scores(left, right, checked.metric))

        return await self._answer(checked, pieces, context)

    async def rank(self, request: similarity_pb2.RankRequest, context: Context) -> bytes:
        """Return the documents, best first."""
        size = len(request.documents)
        checks.count("documents", size, self._limits)
        checks.total({"query": 1, "documents": size}, self._limits)
        checks.scores(self._limits, ("documents", size))
        top_k = checks.within("top_k", request.top_k) if request.HasField("top_k") else size
        top_k = min(top_k, size)
        texts = [Text("query", request.query, LEFT), *paths("documents", request.documents, RIGHT)]
        engine = self._engine(request)
        checked = self._check(request, engine, texts, scores=size, reply_bytes=HIT_BYTES * top_k)

        def pieces(vectors: Vectors) -> Iterator[bytes]:
            query, documents = vectors.rows(0, 1), vectors.rows(1)
            for some in scores_in_pieces(query, documents, checked.metric):
                yield _hits(2, some[0], top_k)

        return await self._answer(checked, pieces, context)

    async def search(self, request: similarity_pb2.SearchRequest, context: Context) -> bytes:
        """Return the best texts of the corpus for each query."""
        queries, corpus = len(request.queries), len(request.corpus)
        checks.count("queries", queries, self._limits)
        checks.count("corpus", corpus, self._limits)
        counts = {"queries": queries, "corpus": corpus}
        checks.total(counts, self._limits)
        scores = checks.scores(self._limits, *counts.items())
        top_k = self._top_k(request, queries, corpus)
        texts = [
            *paths("queries", request.queries, LEFT),
            *paths("corpus", request.corpus, RIGHT),
        ]
        reply_bytes = queries * (HIT_BYTES * top_k + ITEM_BYTES)
        engine = self._engine(request)
        checked = self._check(request, engine, texts, scores=scores, reply_bytes=reply_bytes)

        def pieces(vectors: Vectors) -> Iterator[bytes]:
            left, right = vectors.rows(0, queries), vectors.rows(queries)
            for some in scores_in_pieces(left, right, checked.metric):
                yield b"".join(wire.delimited(2, _hits(1, row, top_k)) for row in some)

        return await self._answer(checked, pieces, context)

    async def matrix(self, request: similarity_pb2.MatrixRequest, context: Context) -> bytes:
        """Return the score of every left text with every right text."""
        left, right = len(request.left), len(request.right)
        checks.count("left", left, self._limits)
        if right:
            checks.count("right", right, self._limits)
            checks.total({"left": left, "right": right}, self._limits)
        scores = checks.scores(
            self._limits, ("left", left), ("right", right) if right else ("left", left)
        )
        engine = self._engine(request)
        texts = paths("left", request.left, LEFT) + paths("right", request.right, RIGHT)
        if not right and _sides_differ(request, engine.manifest):
            if 2 * left > self._limits.max_texts:
                wrong = f"{left} texts, each read as left and as right, are {2 * left} texts, "
                wrong += f"at most {self._limits.max_texts} a request: send several requests"
                raise InvalidRequest.of("left", wrong)
            texts += paths("left", request.left, RIGHT)
        reply_bytes = 4 * scores + ITEM_BYTES * left
        checked = self._check(request, engine, texts, scores=scores, reply_bytes=reply_bytes)

        def pieces(vectors: Vectors) -> Iterator[bytes]:
            columns = vectors.rows(left if len(texts) > left else 0)
            for some in scores_in_pieces(vectors.rows(0, left), columns, checked.metric):
                yield wire.matrix_rows(some)

        return await self._answer(checked, pieces, context)

    def _top_k(self, request: similarity_pb2.SearchRequest, queries: int, corpus: int) -> int:
        top_k = min(DEFAULT_TOP_K, corpus)
        if request.HasField("top_k"):
            top_k = min(checks.within("top_k", request.top_k), corpus)
            if queries * top_k > MAX_HITS:
                raise InvalidRequest.of(
                    "top_k", f"{queries} queries of {top_k} hits, at most {MAX_HITS} in all"
                )
        return top_k

    def _check(
        self,
        request: _Request,
        engine: Engine,
        texts: Sequence[Text],
        *,
        scores: int,
        reply_bytes: int,
    ) -> CheckedRequest:
        """Validate the texts of a request, and determine its metric and prompts.

        Args:
            request: has the metric and the prompts.
            engine: the model.
            texts: in the order of the rows for the scores.
            scores: number of scores.
            reply_bytes: upper bound of the bytes of the reply.
        """
        manifest = engine.manifest
        metric = checks.metric(request.metric, manifest.metric or "cosine")
        checks.texts(dict.fromkeys((one.path, one.text) for one in texts), self._limits)
        inference, places = unique_texts(
            texts,
            _prompts(request, manifest),
            sides=manifest.sides is not None,
            scores=scores,
            reply_bytes=reply_bytes,
            truncation=checks.DEFAULT_TRUNCATIONS[manifest.truncation],
        )
        return CheckedRequest(engine, metric, inference, places)

    def _engine(self, request: _Request) -> Engine:
        return self._models.for_task("embedding", request.model)

    async def _answer(
        self,
        checked: CheckedRequest,
        pieces: Callable[[Vectors], Iterator[bytes]],
        context: Context,
    ) -> bytes:
        """Embed the unique texts of a request, and compute its scores.

        Args:
            checked: the validated request.
            pieces: makes the scores' part of the reply from the vectors, piece by piece.
            context: context of the call.

        Returns:
            The serialized reply.
        """
        engine, scores = checked.engine, checked.inference.scores
        operations = scores * engine.manifest.outputs
        current().model = engine.counters
        with self._scorer.room(scores, operations, seconds=context.time_remaining()):
            result = await execute(engine, checked.inference, context)
            if result.inference is None:
                raise ValueError("a request without texts passed validation. This is a bug.")
            started = perf_counter()
            head = wire.delimited(1, engine.name.encode())
            tail = wire.delimited(3, result.usage) + wire.number(4, result.truncated_tokens)
            vectors = Vectors(result.inference.rows, checked.places)
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


def _prompts(request: _Request, manifest: Manifest) -> tuple[str, str]:
    """Return the prompts of left and right texts, or of queries and documents.

    Raises:
        InvalidRequest: the model has no such prompt.
    """
    paired = isinstance(request, (similarity_pb2.CompareRequest, similarity_pb2.MatrixRequest))
    field = "right_prompt_name" if paired else "document_prompt_name"
    return prompt_text(manifest, request), second_prompt_text(manifest, request, field)


def _sides_differ(request: similarity_pb2.MatrixRequest, manifest: Manifest) -> bool:
    """Return whether a text has different vectors as a left and as a right text."""
    left, right = _prompts(request, manifest)
    return manifest.sides is not None or left != right


def _hits(field: int, scores: NDArray[np.float32], k: int) -> bytes:
    best = top(scores, k)
    return wire.hits(field, best, scores[best])
