"""LlamaIndex: `SemserveEmbedding` and `SemserveRerank`."""

from typing import Any

from semserve import Ranking
from semserve.integrations.clients import Clients, RankBy, library_of, method_of

with library_of("llama-index"):
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.bridge.pydantic import Field, PrivateAttr
    from llama_index.core.postprocessor.types import BaseNodePostprocessor
    from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle

MAX_BATCH = 2048
"""Most texts that LlamaIndex hands over at a time; the client sends them over one stream."""


class SemserveEmbedding(BaseEmbedding):
    """Embeds nodes and queries with a semserve server. A pickle, for worker processes, has the key.

    Attributes:
        address: of the server; by default SEMSERVE_ADDRESS, else 127.0.0.1:50051.
        model_name: name of an embedding model; may be left out as for `Client.embed`.
        normalize: whether vectors have unit length; by default the model's own way.
        dimensions: keep only the first so many.
        query_prompt_name: the model's prompt before queries.
        text_prompt_name: the model's prompt before texts of nodes.
        key: API key; the forms that LlamaIndex stores have none.
        timeout: seconds a call may take.
    """

    model_name: str = ""
    address: str | None = None
    embed_batch_size: int = Field(default=MAX_BATCH, gt=0, le=MAX_BATCH)
    normalize: bool | None = None
    dimensions: int | None = None
    query_prompt_name: str | None = None
    text_prompt_name: str | None = None
    key: str | None = Field(default=None, exclude=True, repr=False)
    timeout: float | None = 30.0
    _clients: Clients = PrivateAttr()

    def __init__(self, **fields: Any) -> None:
        """Take the attributes, and `client` and `async_client` in place of new ones."""
        client, async_client = fields.pop("client", None), fields.pop("async_client", None)
        super().__init__(**fields)
        self._clients = Clients(self.address, self.key, self.timeout, client, async_client)

    def __getstate__(self) -> dict[str, Any]:
        """Refuse to pickle a client of the caller, which the base class would leave out."""
        self._clients.__getstate__()
        state: dict[str, Any] = super().__getstate__()
        return state

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex stores the adapter."""
        return "SemserveEmbedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._clients.call("embed", [query], **self._query())[0].tolist()  # type: ignore[no-any-return]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        found = await self._clients.call_async("embed", [query], **self._query())
        return found[0].tolist()  # type: ignore[no-any-return]

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return (await self._aget_text_embeddings([text]))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._clients.call("embed", texts, **self._text()).vectors.tolist()  # type: ignore[no-any-return]

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        found = await self._clients.call_async("embed", texts, **self._text())
        return found.vectors.tolist()  # type: ignore[no-any-return]

    def _query(self) -> dict[str, Any]:
        return self._options() | {"prompt_name": self.query_prompt_name}

    def _text(self) -> dict[str, Any]:
        return self._options() | {"prompt_name": self.text_prompt_name}

    def _options(self) -> dict[str, Any]:
        return {
            "model": self.model_name, "normalize": self.normalize, "dimensions": self.dimensions,
        }  # fmt: skip


class SemserveRerank(BaseNodePostprocessor):
    """Sorts nodes by their relevance to the query, best first, and gives them its scores.

    Attributes:
        address: of the server; by default SEMSERVE_ADDRESS, else 127.0.0.1:50051.
        model: name of a model; may be left out as for `Client.rerank`.
        top_n: how many nodes to keep; by default all.
        by: "score_model", or "embedding_model" to rank by the likeness of vectors.
        key: API key; the forms that LlamaIndex stores have none.
        timeout: seconds a call may take.
    """

    address: str | None = None
    model: str = ""
    top_n: int | None = None
    by: RankBy = "score_model"
    key: str | None = Field(default=None, exclude=True, repr=False)
    timeout: float | None = 30.0
    _clients: Clients = PrivateAttr()

    def __init__(self, **fields: Any) -> None:
        """Take the attributes, and `client` and `async_client` in place of new ones."""
        client, async_client = fields.pop("client", None), fields.pop("async_client", None)
        super().__init__(**fields)
        self._clients = Clients(self.address, self.key, self.timeout, client, async_client)

    def __getstate__(self) -> dict[str, Any]:
        """Refuse to pickle a client of the caller, which the base class would leave out."""
        self._clients.__getstate__()
        state: dict[str, Any] = super().__getstate__()
        return state

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex stores the adapter."""
        return "SemserveRerank"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if not nodes:
            return []
        request = self._request(nodes, query_bundle)
        return _sorted(nodes, self._clients.call(*request, **self._options()))

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if not nodes:
            return []
        request = self._request(nodes, query_bundle)
        return _sorted(nodes, await self._clients.call_async(*request, **self._options()))

    def _request(
        self, nodes: list[NodeWithScore], query: QueryBundle | None
    ) -> tuple[str, str, list[str]]:
        if query is None:
            raise ValueError("query_bundle: a query is needed to rerank nodes")
        texts = [node.node.get_content(metadata_mode=MetadataMode.EMBED) for node in nodes]
        return method_of(self.by), query.query_str, texts

    def _options(self) -> dict[str, Any]:
        return {"model": self.model, "top_k": self.top_n}


def _sorted(nodes: list[NodeWithScore], ranking: Ranking) -> list[NodeWithScore]:
    return [NodeWithScore(node=nodes[hit.index].node, score=hit.score) for hit in ranking]
