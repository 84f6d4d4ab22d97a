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
    """A semserve server, called and waited for. Threads may share one.

    Of every method: `model` may be left out where one loaded model, or the server's default, does
    the job. `timeout`, in seconds, is the client's own unless given (`CLIENT_TIMEOUT`), and `None`
    is no deadline. `metadata` is sent along. A call that fails raises a `SemserveError` (see
    `semserve.errors`), and an argument of the wrong kind a TypeError or a ValueError. Lists may be
    of any length but for `matrix` and `tokenize`: one longer than `chunk` travels in many requests,
    and `timeout` bounds the wait for each of them. A result, and an error, tells the `request_id`
    under which the server's logs have the call; a result tells the server's `timing` too.
    """

    def embed(
        self,
        texts: Iterable[str],
        *,
        timeout: Timeout = CLIENT_TIMEOUT,
        metadata: Metadata | None = None,
        **options: Unpack[EmbedOptions],
    ) -> Embeddings:
        """Turn texts into vectors, in the order of the texts.

        Args:
            texts: the texts, none empty.
            timeout: seconds to wait.
            metadata: sent along; of a name that the client has too, this value is sent.
            options: `model`; `normalize`, whether to scale vectors to unit length (by default
                the model's own way); `dimensions`, to keep only the first so many; `truncation`,
                `"end"`, `"start"` or `"none"`; `encoding`, how vectors travel, `"values"`,
                `"float32"`, `"float16"` or `"int8"`, the last two shorter and less exact;
                `allow_partial`, to answer the good texts even where others are bad; `prompt_name`,
                the prompt of the model to put before each text, by default its own default one,
                `""` for none; `side`, `"left"` or `"right"`, for a model with an encoder for each.
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
        """Embed batch after batch, and yield each answer as it comes.

        Answers come in any order: `Answer.index` tells which batch each belongs to. A batch that
        fails is answered with an error, and the stream goes on. `batches` may be endless; it is
        read on another thread, at most `in_flight` batches ahead of the answers.

        Args:
            batches: lists of texts, each of at most as many as the server takes in one request.
            timeout: seconds that may pass without an answer while one is owed.
            metadata: sent along; of a name that the client has too, this value is sent.
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
        """Turn texts into the weights of tokens of the vocabulary, in the order of the texts.

        Args:
            texts: the texts, none empty.
            timeout: seconds to wait.
            metadata: sent along; of a name that the client has too, this value is sent.
            options: `model`, `truncation`, `allow_partial` and `prompt_name`, as for `embed`;
                `top_k`, to keep only the largest so many weights of each text; `include_tokens`,
                to answer with the tokens too.
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
        """Label pairs, in the order of the pairs.

        Args:
            pairs: (premise, hypothesis), or strings for a classifier of single texts.
            timeout: seconds to wait.
            metadata: sent along; of a name that the client has too, this value is sent.
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
        """Label batch after batch of pairs, and yield each answer as `stream_embed` does."""
        return self._stream(classification.stream(batches, **options), timeout, metadata)

    def score(
        self,
        items: Iterable[ScoreItem],
        *,
        timeout: Timeout = CLIENT_TIMEOUT,
        metadata: Metadata | None = None,
        **options: Unpack[ScoreOptions],
    ) -> PairScores:
        """Give each pair, or each text, the number of a score model, in their order.

        Args:
            items: (left, right), or strings for a model of single texts.
            timeout: seconds to wait.
            metadata: sent along; of a name that the client has too, this value is sent.
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
        """Sort documents by the number that a score model gives the query and each, best first.

        Args:
            query: the left text of every pair.
            documents: the right texts.
            top_k: answer with only the best so many; by default with all.
            model: name of a score model of pairs.
            truncation: what to do with pairs of too many tokens, as for `embed`.
            timeout: seconds to wait.
            metadata: sent along; of a name that the client has too, this value is sent.
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
        """Score pairs of texts by their likeness, in the order of the pairs.

        Args:
            pairs: (left, right).
            model: name of an embedding model.
            metric: `"cosine"`, `"dot"`, `"euclidean"` or `"manhattan"`; by default the model's.
            timeout: seconds to wait.
            metadata: sent along; of a name that the client has too, this value is sent.
            prompts: `prompt_name`, as for `embed`; `right_prompt_name`, where that of the right
                texts is another.
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
        """Sort documents by their likeness to a query, best first.

        Args:
            query: the text to rank by.
            documents: the texts to rank.
            top_k: answer with only the best so many; by default with all.
            model: name of an embedding model.
            metric: as for `compare`.
            timeout: seconds to wait.
            metadata: sent along; of a name that the client has too, this value is sent.
            prompts: `prompt_name`, as for `embed`; `document_prompt_name`, where that of the
                documents is another.
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
        """Find the texts of a corpus that are most like each query.

        Args:
            queries: the texts to look for.
            corpus: the texts to look in. All of it is sent and embedded with every call.
            top_k: how many hits a query; by default 10.
            model: name of an embedding model.
            metric: as for `compare`.
            timeout: seconds to wait.
            metadata: sent along; of a name that the client has too, this value is sent.
            prompts: `prompt_name`, as for `embed`; `document_prompt_name`, where that of the
                documents is another.
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
        """Score every left text against every right one; the left ones themselves if none.

        Args:
            left: the texts of the rows.
            right: the texts of the columns. With `left` at most what one request may carry.
            model: name of an embedding model.
            metric: as for `compare`.
            timeout: seconds to wait.
            metadata: sent along; of a name that the client has too, this value is sent.
            prompts: as for `compare`.
        """
        return self._execute(
            similarity.matrix(left, right, model, metric, **prompts), timeout, metadata
        )
