# ruff: noqa: ASYNC109 - a timeout becomes the deadline on the wire, which the server obeys
"""The asyncio client."""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Mapping
from typing import Unpack

from semserve.calls import (
    classification,
    embedding,
    health,
    models,
    retrieval,
    scoring,
    similarity,
    sparse,
)
from semserve.calls.classification import Classifications, ClassifyOptions, Pair
from semserve.calls.embedding import Embeddings, EmbedOptions
from semserve.calls.health import Health
from semserve.calls.models import ModelInfo, ServerInfo, Tokens
from semserve.calls.retrieval import QueryPrompts, Ranking, SearchResults
from semserve.calls.scoring import PairScores, ScoreItem, ScoreOptions
from semserve.calls.similarity import ComparePair, PairPrompts, Scores
from semserve.calls.sparse import EmbedSparseOptions, SparseEmbeddings
from semserve.connection.options import CLIENT_TIMEOUT, Timeout
from semserve.requests.values import Metric, Truncation
from semserve.requests.work import Answer
from semserve.transport.async_transport import AsyncTransport

Metadata = Mapping[str, str | bytes]


class AsyncClient(AsyncTransport):
    """A semserve server, with asyncio. Event loops may share a client: each has its own connection.

    The methods have the arguments and results of `Client`, which documents them. Batches for a
    stream may also be an async iterable. A plain iterable is read on other threads, so that it does
    not block the event loop.
    """

    async def embed(
        self,
        texts: Iterable[str],
        *,
        timeout: Timeout = CLIENT_TIMEOUT,
        metadata: Metadata | None = None,
        **options: Unpack[EmbedOptions],
    ) -> Embeddings:
        """Convert texts to vectors, in the order of the texts."""
        return await self._execute(
            embedding.embed(texts, self._chunk, **options), timeout, metadata
        )

    def stream_embed(
        self,
        batches: Iterable[Iterable[str]] | AsyncIterable[Iterable[str]],
        *,
        timeout: Timeout = CLIENT_TIMEOUT,
        metadata: Metadata | None = None,
        **options: Unpack[EmbedOptions],
    ) -> AsyncGenerator[Answer[Embeddings], None]:
        """Embed batches over a stream, and yield each answer when it arrives."""
        return self._stream(embedding.stream(batches, **options), timeout, metadata)

    async def embed_sparse(
        self,
        texts: Iterable[str],
        *,
        timeout: Timeout = CLIENT_TIMEOUT,
        metadata: Metadata | None = None,
        **options: Unpack[EmbedSparseOptions],
    ) -> SparseEmbeddings:
        """Convert texts to weights of tokens of the vocabulary, in the order of the texts."""
        work = sparse.embed_sparse(texts, self._chunk, **options)
        return await self._execute(work, timeout, metadata)

    async def classify(
        self,
        pairs: Iterable[Pair],
        *,
        timeout: Timeout = CLIENT_TIMEOUT,
        metadata: Metadata | None = None,
        **options: Unpack[ClassifyOptions],
    ) -> Classifications:
        """Classify pairs or texts, in their order."""
        return await self._execute(
            classification.classify(pairs, self._chunk, **options), timeout, metadata
        )

    def stream_classify(
        self,
        batches: Iterable[Iterable[Pair]] | AsyncIterable[Iterable[Pair]],
        *,
        timeout: Timeout = CLIENT_TIMEOUT,
        metadata: Metadata | None = None,
        **options: Unpack[ClassifyOptions],
    ) -> AsyncGenerator[Answer[Classifications], None]:
        """Classify batches of pairs over a stream, and yield answers as `stream_embed` does."""
        return self._stream(classification.stream(batches, **options), timeout, metadata)

    async def score(
        self,
        items: Iterable[ScoreItem],
        *,
        timeout: Timeout = CLIENT_TIMEOUT,
        metadata: Metadata | None = None,
        **options: Unpack[ScoreOptions],
    ) -> PairScores:
        """Compute the score of each pair or text with a score model, in their order."""
        return await self._execute(scoring.score(items, self._chunk, **options), timeout, metadata)

    async def rerank(
        self,
        query: str,
        documents: Iterable[str],
        *,
        top_k: int | None = None,
        model: str = "",
        truncation: Truncation | None = None,
        timeout: Timeout = CLIENT_TIMEOUT,
        metadata: Metadata | None = None,
    ) -> Ranking:
        """Sort documents by a score model's score of the query and each document, best first."""
        work = scoring.rerank(query, documents, model, truncation, top_k, self._chunk)
        return await self._execute(work, timeout, metadata)

    async def compare(
        self,
        pairs: Iterable[ComparePair],
        *,
        model: str = "",
        metric: Metric | None = None,
        timeout: Timeout = CLIENT_TIMEOUT,
        metadata: Metadata | None = None,
        **prompts: Unpack[PairPrompts],
    ) -> Scores:
        """Compute the similarity of pairs of texts, in the order of the pairs."""
        return await self._execute(
            similarity.compare(pairs, model, metric, self._chunk, **prompts), timeout, metadata
        )

    async def rank(
        self,
        query: str,
        documents: Iterable[str],
        *,
        top_k: int | None = None,
        model: str = "",
        metric: Metric | None = None,
        timeout: Timeout = CLIENT_TIMEOUT,
        metadata: Metadata | None = None,
        **prompts: Unpack[QueryPrompts],
    ) -> Ranking:
        """Sort documents by their similarity to a query, best first."""
        work = retrieval.rank(query, documents, model, metric, top_k, self._chunk, **prompts)
        return await self._execute(work, timeout, metadata)

    async def search(
        self,
        queries: Iterable[str],
        corpus: Iterable[str],
        *,
        top_k: int | None = None,
        model: str = "",
        metric: Metric | None = None,
        timeout: Timeout = CLIENT_TIMEOUT,
        metadata: Metadata | None = None,
        **prompts: Unpack[QueryPrompts],
    ) -> SearchResults:
        """Find the texts of a corpus that are most similar to each query."""
        work = retrieval.search(queries, corpus, model, metric, top_k, self._chunk, **prompts)
        return await self._execute(work, timeout, metadata)

    async def matrix(
        self,
        left: Iterable[str],
        right: Iterable[str] | None = None,
        *,
        model: str = "",
        metric: Metric | None = None,
        timeout: Timeout = CLIENT_TIMEOUT,
        metadata: Metadata | None = None,
        **prompts: Unpack[PairPrompts],
    ) -> Scores:
        """Compute the score of every left text with every right text, by default the left texts."""
        return await self._execute(
            similarity.matrix(left, right, model, metric, **prompts), timeout, metadata
        )

    async def models(
        self, *, timeout: Timeout = CLIENT_TIMEOUT, metadata: Metadata | None = None
    ) -> list[ModelInfo]:
        """List all models, sorted by name: loaded, loading, refused and unloaded ones."""
        return await self._execute(models.models(), timeout, metadata)

    async def model(
        self, name: str = "", *, timeout: Timeout = CLIENT_TIMEOUT, metadata: Metadata | None = None
    ) -> ModelInfo:
        """Describe one model. The name may be omitted if only one model is loaded."""
        return await self._execute(models.model(name), timeout, metadata)

    async def server_info(
        self, *, timeout: Timeout = CLIENT_TIMEOUT, metadata: Metadata | None = None
    ) -> ServerInfo:
        """Return the server's version, its limits and its default models."""
        return await self._execute(models.server_info(), timeout, metadata)

    async def load_model(
        self, name: str, *, timeout: Timeout = CLIENT_TIMEOUT, metadata: Metadata | None = None
    ) -> ModelInfo:
        """Load a bundle from the server's disk. Returns when the model serves requests."""
        return await self._execute(models.load_model(name), timeout, metadata)

    async def unload_model(
        self, name: str, *, timeout: Timeout = CLIENT_TIMEOUT, metadata: Metadata | None = None
    ) -> None:
        """Have a model served no longer, where the server allows it."""
        await self._execute(models.unload_model(name), timeout, metadata)

    async def tokenize(
        self,
        texts: Iterable[str],
        *,
        model: str = "",
        timeout: Timeout = CLIENT_TIMEOUT,
        metadata: Metadata | None = None,
    ) -> list[Tokens]:
        """Show how a model's tokenizer reads texts, without running the model."""
        return await self._execute(models.tokenize(texts, model), timeout, metadata)

    async def health(
        self,
        service: str = "",
        *,
        timeout: Timeout = CLIENT_TIMEOUT,
        metadata: Metadata | None = None,
    ) -> Health:
        """Ask whether the server, or one model by its name, is ready."""
        return await self._execute(health.check(service), timeout, metadata)

    def watch(
        self, service: str = "", *, metadata: Metadata | None = None
    ) -> AsyncIterator[Health]:
        """Yield whether the server or a model is ready, now and at every change; never ends."""
        return self._watch(service, metadata)
