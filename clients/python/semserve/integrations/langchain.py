"""LangChain: `SemserveEmbeddings`, `SemserveReranker` and `SemserveCrossEncoder`."""

from collections.abc import Sequence
from typing import Any

from semserve import AsyncClient, Client, Ranking
from semserve.integrations.clients import Clients, RankBy, library_of, method_of

with library_of("langchain"):
    from langchain_core.callbacks import Callbacks
    from langchain_core.cross_encoders import BaseCrossEncoder
    from langchain_core.documents import BaseDocumentCompressor, Document
    from langchain_core.embeddings import Embeddings
    from pydantic import ConfigDict, Field, PrivateAttr, SecretStr


class SemserveEmbeddings(Embeddings):
    """Embeds texts with a semserve server; a list of any length is one call."""

    def __init__(  # noqa: PLR0913 - the options of the call
        self,
        address: str | None = None,
        *,
        model: str = "",
        normalize: bool | None = None,
        dimensions: int | None = None,
        query_prompt_name: str | None = None,
        document_prompt_name: str | None = None,
        key: str | None = None,
        timeout: float | None = 30.0,
        client: Client | None = None,
        async_client: AsyncClient | None = None,
    ) -> None:
        """Keep the options; the first call connects.

        Args:
            address: of the server; by default SEMSERVE_ADDRESS, else 127.0.0.1:50051.
            model: name of an embedding model; may be left out as for `Client.embed`.
            normalize: whether vectors have unit length; by default the model's own way.
            dimensions: keep only the first so many.
            query_prompt_name: the model's prompt before queries.
            document_prompt_name: the model's prompt before documents.
            key: API key.
            timeout: seconds a call may take.
            client: used in place of a new one, for TLS and other options.
            async_client: the same for the asynchronous methods.
        """
        self.clients = Clients(address, key, timeout, client, async_client)
        self._options = {"model": model, "normalize": normalize, "dimensions": dimensions}
        self._query = self._options | {"prompt_name": query_prompt_name}
        self._document = self._options | {"prompt_name": document_prompt_name}

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return one vector a text, in their order."""
        if not texts:
            return []
        vectors = self.clients.call("embed", texts, **self._document).vectors
        return vectors.tolist()  # type: ignore[no-any-return]

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a query."""
        return self.clients.call("embed", [text], **self._query)[0].tolist()  # type: ignore[no-any-return]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return one vector a text, in their order."""
        if not texts:
            return []
        found = await self.clients.call_async("embed", texts, **self._document)
        return found.vectors.tolist()  # type: ignore[no-any-return]

    async def aembed_query(self, text: str) -> list[float]:
        """Return the vector of a query."""
        found = await self.clients.call_async("embed", [text], **self._query)
        return found[0].tolist()  # type: ignore[no-any-return]


class SemserveReranker(BaseDocumentCompressor):
    """Sorts documents by their relevance to a query, best first.

    The score is `relevance_score` in the metadata of each document.

    Attributes:
        address: of the server; by default SEMSERVE_ADDRESS, else 127.0.0.1:50051.
        model: name of a model; may be left out as for `Client.rerank`.
        top_n: how many documents to keep; by default all.
        by: "score_model", or "embedding_model" to rank by the likeness of vectors.
        key: API key; no serialised form has it.
        timeout: seconds a call may take.
        client: used in place of a new one, for TLS and other options.
        async_client: the same for the asynchronous method.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")
    address: str | None = None
    model: str = ""
    top_n: int | None = None
    by: RankBy = "score_model"
    key: SecretStr | None = Field(default=None, exclude=True, repr=False)
    timeout: float | None = 30.0
    client: Any = Field(default=None, exclude=True, repr=False)
    async_client: Any = Field(default=None, exclude=True, repr=False)
    _clients: Clients = PrivateAttr()

    def model_post_init(self, _: Any) -> None:
        """Keep how to reach the server."""
        key = None if self.key is None else self.key.get_secret_value()
        self._clients = Clients(self.address, key, self.timeout, self.client, self.async_client)

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks = None
    ) -> Sequence[Document]:
        """Return the best documents, best first."""
        del callbacks  # LangChain's, for compressors that run chains
        if not documents:
            return []
        found = self._clients.call(method_of(self.by), query, _texts(documents), **self._options())
        return _sorted(documents, found)

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks = None
    ) -> Sequence[Document]:
        """Return the best documents, best first."""
        del callbacks
        if not documents:
            return []
        texts, options = _texts(documents), self._options()
        found = await self._clients.call_async(method_of(self.by), query, texts, **options)
        return _sorted(documents, found)

    def _options(self) -> dict[str, Any]:
        return {"model": self.model, "top_k": self.top_n}


class SemserveCrossEncoder(BaseCrossEncoder):
    """Scores pairs of texts with a score model of a semserve server."""

    def __init__(
        self,
        address: str | None = None,
        *,
        model: str = "",
        key: str | None = None,
        timeout: float | None = 30.0,
        client: Client | None = None,
    ) -> None:
        """Keep the options, as `SemserveEmbeddings`."""
        self.clients = Clients(address, key, timeout, client)
        self._model = model

    def score(self, text_pairs: list[tuple[str, str]]) -> list[float]:
        """Return one number a pair, in their order."""
        if not text_pairs:
            return []
        return self.clients.call("score", text_pairs, model=self._model).scores.tolist()  # type: ignore[no-any-return]


def _texts(documents: Sequence[Document]) -> list[str]:
    return [document.page_content for document in documents]


def _sorted(documents: Sequence[Document], ranking: Ranking) -> list[Document]:
    """Copy the documents in the order of the hits; the caller's are left as they are."""
    return [
        documents[hit.index].model_copy(
            update={"metadata": documents[hit.index].metadata | {"relevance_score": hit.score}}
        )
        for hit in ranking
    ]
