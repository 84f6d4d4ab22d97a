"""The blocking client."""

from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Unpack

from semserve import classification, embedding, health, models, retrieval, similarity
from semserve.classification import Classifications, ClassifyOptions, Pair
from semserve.embedding import Embeddings, EmbedOptions
from semserve.health import Health
from semserve.models import ModelInfo, Tokens
from semserve.options import CLIENT_TIMEOUT, Timeout
from semserve.retrieval import Ranking, SearchResults
from semserve.similarity import ComparePair, Scores
from semserve.values import Metric
from semserve.wire import Wire
from semserve.work import Answer

Metadata = Mapping[str, str | bytes]


class Client(Wire):
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
                `allow_partial`, to answer the good texts even where others are bad.
        """
        return self._do(embedding.embed(texts, self._chunk, **options), timeout, metadata)

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
        return self._do(classification.classify(pairs, self._chunk, **options), timeout, metadata)

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

    def compare(
        self,
        pairs: Iterable[ComparePair],
        *,
        model: str = "",
        metric: Metric | None = None,
        timeout: Timeout = CLIENT_TIMEOUT,
        metadata: Metadata | None = None,
    ) -> Scores:
        """Score pairs of texts by their likeness, in the order of the pairs.

        Args:
            pairs: (left, right).
            model: name of an embedding model.
            metric: `"cosine"`, `"dot"`, `"euclidean"` or `"manhattan"`; by default the model's.
            timeout: seconds to wait.
            metadata: sent along; of a name that the client has too, this value is sent.
        """
        return self._do(similarity.compare(pairs, model, metric, self._chunk), timeout, metadata)

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
        """
        work = retrieval.rank(query, documents, model, metric, top_k, self._chunk)
        return self._do(work, timeout, metadata)

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
        """
        work = retrieval.search(queries, corpus, model, metric, top_k, self._chunk)
        return self._do(work, timeout, metadata)

    def matrix(
        self,
        left: Iterable[str],
        right: Iterable[str] | None = None,
        *,
        model: str = "",
        metric: Metric | None = None,
        timeout: Timeout = CLIENT_TIMEOUT,
        metadata: Metadata | None = None,
    ) -> Scores:
        """Score every left text against every right one; the left ones themselves if none.

        Args:
            left: the texts of the rows.
            right: the texts of the columns. With `left` at most what one request may carry.
            model: name of an embedding model.
            metric: as for `compare`.
            timeout: seconds to wait.
            metadata: sent along; of a name that the client has too, this value is sent.
        """
        return self._do(similarity.matrix(left, right, model, metric), timeout, metadata)

    def models(
        self, *, timeout: Timeout = CLIENT_TIMEOUT, metadata: Metadata | None = None
    ) -> list[ModelInfo]:
        """List the loaded models, sorted by name."""
        return self._do(models.models(), timeout, metadata)

    def model(
        self, name: str = "", *, timeout: Timeout = CLIENT_TIMEOUT, metadata: Metadata | None = None
    ) -> ModelInfo:
        """Describe one model; the name may be left out where only one is loaded."""
        return self._do(models.model(name), timeout, metadata)

    def load_model(
        self, name: str, *, timeout: Timeout = CLIENT_TIMEOUT, metadata: Metadata | None = None
    ) -> ModelInfo:
        """Have a bundle served as it is on the server's disk now; returns when it is warm.

        What was served under that name serves until then. The server must allow it, with
        `--allow-model-control`.

        Args:
            name: of a bundle in the server's models directory.
            timeout: seconds to wait. The server goes on loading after that.
            metadata: sent along; of a name that the client has too, this value is sent.

        Raises:
            SemserveError: with the code FAILED_PRECONDITION, the bundle cannot be served.
        """
        return self._do(models.load_model(name), timeout, metadata)

    def unload_model(
        self, name: str, *, timeout: Timeout = CLIENT_TIMEOUT, metadata: Metadata | None = None
    ) -> None:
        """Have a model served no longer, where the server allows it."""
        self._do(models.unload_model(name), timeout, metadata)

    def tokenize(
        self,
        texts: Iterable[str],
        *,
        model: str = "",
        timeout: Timeout = CLIENT_TIMEOUT,
        metadata: Metadata | None = None,
    ) -> list[Tokens]:
        """Show how a model's tokenizer reads texts, without running the model."""
        return self._do(models.tokenize(texts, model), timeout, metadata)

    def health(
        self,
        service: str = "",
        *,
        timeout: Timeout = CLIENT_TIMEOUT,
        metadata: Metadata | None = None,
    ) -> Health:
        """Ask whether the server, or one model by its name, is ready."""
        return self._do(health.check(service), timeout, metadata)

    def watch(self, service: str = "", *, metadata: Metadata | None = None) -> Iterator[Health]:
        """Yield whether the server or a model is ready, now and at every change; never ends."""
        return self._watch(service, metadata)
