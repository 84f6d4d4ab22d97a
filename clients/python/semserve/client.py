"""The blocking client."""

from collections.abc import Generator, Iterable, Mapping
from typing import Unpack

from semserve.calls import classification, embedding, retrieval, scoring, similarity, sparse
from semserve.calls.classification import Classifications, ClassifyOptions, Pair
from semserve.calls.embedding import Embeddings, EmbedOptions
from semserve.calls.retrieval import QueryPrompts, Ranking, SearchResults
from semserve.calls.scoring import PairScores, ScoreItem, ScoreOptions
from semserve.calls.similarity import ComparePair, PairPrompts, Scores
from semserve.calls.sparse import EmbedSparseOptions, SparseEmbeddings
from semserve.connection.options import CLIENT_TIMEOUT, Timeout
from semserve.model_client import ModelClient
from semserve.requests.values import Metric, Truncation
from semserve.requests.work import Answer

Metadata = Mapping[str, str | bytes]


class Client(ModelClient):
    """A semserve server, with blocking calls. Threads may share a client.

    All methods have common arguments. `model` is the name of a model; it may be omitted if only one
    loaded model fits, or if the server has a default. `timeout` is in seconds; the default is the
    client's (`CLIENT_TIMEOUT`), and `None` means no deadline. `metadata` is sent with the call. A
    call that fails raises a `SemserveError` (see `semserve.errors`). An argument of the wrong type
    raises a TypeError or a ValueError. Lists may have any length, except for `matrix` and
    `tokenize`: a list longer than `chunk` is sent in several requests, and `timeout` limits each of
    them. Results and errors have the `request_id` of the call, which the server's logs contain.
    Results also have the server's `timing`.
    """

    def embed(
        self,
        texts: Iterable[str],
        *,
        timeout: Timeout = CLIENT_TIMEOUT,
        metadata: Metadata | None = None,
        **options: Unpack[EmbedOptions],
    ) -> Embeddings:
        """Convert texts to vectors, in the order of the texts.

        Args:
            texts: the texts, none empty.
            timeout: seconds to wait.
            metadata: sent with the call; overrides the client's metadata of the same name.
            options: `model`; `normalize`, whether to scale vectors to unit length (the default
                depends on the model); `dimensions`, to keep only the first dimensions;
                `truncation`, `"end"`, `"start"` or `"none"`; `encoding`, the encoding of vectors in
                the reply, `"values"`, `"float32"`, `"float16"` or `"int8"`, of which the last two
                are smaller and less exact; `allow_partial`, to get the results of valid texts even
                if others are invalid; `prompt_name`, the name of the prompt to put before each
                text, by default the model's default prompt, `""` for none; `side`, `"left"` or
                `"right"`, for a model with an encoder for each side.
        """
        return self._execute(embedding.embed(texts, self._chunk, **options), timeout, metadata)

    def stream_embed(
        self,
        batches: Iterable[Iterable[str]],
        *,
        timeout: Timeout = CLIENT_TIMEOUT,
        metadata: Metadata | None = None,
        **options: Unpack[EmbedOptions],
    ) -> Generator[Answer[Embeddings], None, None]:
        """Embed batches over a stream, and yield each answer when it arrives.

        Answers arrive in any order; `Answer.index` is the index of the batch. A batch that fails
        yields an answer with an error, and the stream continues. `batches` may be infinite. Another
        thread reads it, at most `in_flight` batches ahead of the answers.

        Args:
            batches: lists of texts, each no longer than the server's limit for one request.
            timeout: most seconds without an answer while one is outstanding.
            metadata: sent with the call; overrides the client's metadata of the same name.
            options: as for `embed`.
        """
        return self._stream(embedding.stream(batches, **options), timeout, metadata)

    def embed_sparse(
        self,
        texts: Iterable[str],
        *,
        timeout: Timeout = CLIENT_TIMEOUT,
        metadata: Metadata | None = None,
        **options: Unpack[EmbedSparseOptions],
    ) -> SparseEmbeddings:
        """Convert texts to weights of tokens of the vocabulary, in the order of the texts.

        Args:
            texts: the texts, none empty.
            timeout: seconds to wait.
            metadata: sent with the call; overrides the client's metadata of the same name.
            options: `model`, `truncation`, `allow_partial` and `prompt_name`, as for `embed`;
                `top_k`, to keep only the largest weights of each text; `include_tokens`, to get the
                tokens too.
        """
        return self._execute(sparse.embed_sparse(texts, self._chunk, **options), timeout, metadata)

    def classify(
        self,
        pairs: Iterable[Pair],
        *,
        timeout: Timeout = CLIENT_TIMEOUT,
        metadata: Metadata | None = None,
        **options: Unpack[ClassifyOptions],
    ) -> Classifications:
        """Classify pairs or texts, in their order.

        Args:
            pairs: (premise, hypothesis), or strings for a classifier of single texts.
            timeout: seconds to wait.
            metadata: sent with the call; overrides the client's metadata of the same name.
            options: `model`, `truncation` and `allow_partial`, as for `embed`.
        """
        return self._execute(
            classification.classify(pairs, self._chunk, **options), timeout, metadata
        )

    def stream_classify(
        self,
        batches: Iterable[Iterable[Pair]],
        *,
        timeout: Timeout = CLIENT_TIMEOUT,
        metadata: Metadata | None = None,
        **options: Unpack[ClassifyOptions],
    ) -> Generator[Answer[Classifications], None, None]:
        """Classify batches of pairs over a stream, and yield answers as `stream_embed` does."""
        return self._stream(classification.stream(batches, **options), timeout, metadata)

    def score(
        self,
        items: Iterable[ScoreItem],
        *,
        timeout: Timeout = CLIENT_TIMEOUT,
        metadata: Metadata | None = None,
        **options: Unpack[ScoreOptions],
    ) -> PairScores:
        """Compute the score of each pair or text with a score model, in their order.

        Args:
            items: (left, right), or strings for a model of single texts.
            timeout: seconds to wait.
            metadata: sent with the call; overrides the client's metadata of the same name.
            options: `model`, `truncation` and `allow_partial`, as for `embed`.
        """
        return self._execute(scoring.score(items, self._chunk, **options), timeout, metadata)

    def rerank(
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
        """Sort documents by a score model's score of the query and each document, best first.

        Args:
            query: the left text of every pair.
            documents: the right texts.
            top_k: number of documents to return; by default all.
            model: name of a score model of pairs.
            truncation: rule for pairs with too many tokens, as for `embed`.
            timeout: seconds to wait.
            metadata: sent with the call; overrides the client's metadata of the same name.
        """
        work = scoring.rerank(query, documents, model, truncation, top_k, self._chunk)
        return self._execute(work, timeout, metadata)

    def compare(
        self,
        pairs: Iterable[ComparePair],
        *,
        model: str = "",
        metric: Metric | None = None,
        timeout: Timeout = CLIENT_TIMEOUT,
        metadata: Metadata | None = None,
        **prompts: Unpack[PairPrompts],
    ) -> Scores:
        """Compute the similarity of pairs of texts, in the order of the pairs.

        Args:
            pairs: (left, right).
            model: name of an embedding model.
            metric: `"cosine"`, `"dot"`, `"euclidean"` or `"manhattan"`; by default the model's.
            timeout: seconds to wait.
            metadata: sent with the call; overrides the client's metadata of the same name.
            prompts: `prompt_name`, as for `embed`; `right_prompt_name`, if the right texts have
                another prompt.
        """
        work = similarity.compare(pairs, model, metric, self._chunk, **prompts)
        return self._execute(work, timeout, metadata)

    def rank(
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
        """Sort documents by their similarity to a query, best first.

        Args:
            query: the query.
            documents: the texts to sort.
            top_k: number of documents to return; by default all.
            model: name of an embedding model.
            metric: as for `compare`.
            timeout: seconds to wait.
            metadata: sent with the call; overrides the client's metadata of the same name.
            prompts: `prompt_name`, as for `embed`; `document_prompt_name`, if the documents have
                another prompt.
        """
        work = retrieval.rank(query, documents, model, metric, top_k, self._chunk, **prompts)
        return self._execute(work, timeout, metadata)

    def search(
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
        """Find the texts of a corpus that are most similar to each query.

        Args:
            queries: the queries.
            corpus: the texts to search. Every call sends and embeds all of them.
            top_k: hits for each query; by default 10.
            model: name of an embedding model.
            metric: as for `compare`.
            timeout: seconds to wait.
            metadata: sent with the call; overrides the client's metadata of the same name.
            prompts: `prompt_name`, as for `embed`; `document_prompt_name`, if the corpus has
                another prompt.
        """
        work = retrieval.search(queries, corpus, model, metric, top_k, self._chunk, **prompts)
        return self._execute(work, timeout, metadata)

    def matrix(
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
        """Compute the score of every left text with every right text.

        Args:
            left: the texts of the rows.
            right: the texts of the columns; by default `left`. Together at most the limit of one
                request.
            model: name of an embedding model.
            metric: as for `compare`.
            timeout: seconds to wait.
            metadata: sent with the call; overrides the client's metadata of the same name.
            prompts: as for `compare`.
        """
        return self._execute(
            similarity.matrix(left, right, model, metric, **prompts), timeout, metadata
        )
