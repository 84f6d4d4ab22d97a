"""Haystack: `SemserveTextEmbedder`, `SemserveDocumentEmbedder` and `SemserveRanker`."""

from dataclasses import replace
from typing import Any, Self

from semserve import AsyncClient, Client, Embeddings, Ranking
from semserve.integrations.clients import Clients, RankBy, check_texts, library_of, method_of

with library_of("haystack"):
    from haystack import Document, component, default_from_dict, default_to_dict
    from haystack.utils import Secret, deserialize_secrets_inplace


class _ServerComponent:
    """What the components share: the connection, and the form that pipelines store."""

    def _set_up(
        self,
        parameters: dict[str, Any],
        client: Client | None = None,
        async_client: AsyncClient | None = None,
    ) -> None:
        self._parameters = parameters
        key: Secret | None = parameters["key"]
        self._clients = Clients(
            parameters["address"],
            None if key is None else key.resolve_value(),
            parameters["timeout"],
            client,
            async_client,
        )
        self._own = client is None and async_client is None

    def to_dict(self) -> dict[str, Any]:
        """Return the arguments as Haystack stores them; of the key, the name of its variable.

        Raises:
            ValueError: the component has a client of its own, or a key that is not from a variable.
        """
        if not self._own:
            raise ValueError("client: a component with a client of its own cannot be stored")
        key = self._parameters["key"]
        stored = self._parameters | {"key": None if key is None else key.to_dict()}
        form: dict[str, Any] = default_to_dict(self, **stored)
        return form

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Make a component of what `to_dict` returned."""
        if (data.get("init_parameters") or {}).get("key") is not None:
            deserialize_secrets_inplace(data["init_parameters"], keys=["key"])
        made: Self = default_from_dict(cls, data)
        return made

    def close(self) -> None:
        """Close the connection. A later run opens another."""
        self._clients.close()

    async def close_async(self) -> None:
        """Close the connection of asynchronous runs. A later run opens another."""
        await self._clients.close_async()

    def _embed_options(self) -> dict[str, Any]:
        names = ("model", "normalize", "dimensions", "prompt_name")
        return {name: self._parameters[name] for name in names}


@component
class SemserveTextEmbedder(_ServerComponent):
    """Embeds a query with a semserve server."""

    def __init__(  # noqa: PLR0913 - the options of the call
        self,
        address: str | None = None,
        *,
        model: str = "",
        normalize: bool | None = None,
        dimensions: int | None = None,
        prompt_name: str | None = None,
        key: Secret | None = None,
        timeout: float | None = 30.0,
        client: Client | None = None,
        async_client: AsyncClient | None = None,
    ) -> None:
        """Keep the options; the first run connects.

        Args:
            address: of the server; by default SEMSERVE_ADDRESS, else 127.0.0.1:50051.
            model: name of an embedding model; may be left out as for `Client.embed`.
            normalize: whether vectors have unit length; by default the model's own way.
            dimensions: keep only the first so many.
            prompt_name: the model's prompt before the text.
            key: API key, such as `Secret.from_env_var("SEARCH_KEY")`.
            timeout: seconds a call may take.
            client: used in place of a new one, for TLS and other options.
            async_client: the same for `run_async`.
        """
        parameters = {
            "address": address, "model": model, "normalize": normalize, "dimensions": dimensions,
            "prompt_name": prompt_name, "key": key, "timeout": timeout,
        }  # fmt: skip
        self._set_up(parameters, client, async_client)

    @component.output_types(embedding=list[float], meta=dict[str, Any])
    def run(self, text: str) -> dict[str, Any]:
        """Return the vector as `embedding`, and the model and the count of tokens as `meta`."""
        return _one(self._clients.call("embed", [text], **self._embed_options()))

    @component.output_types(embedding=list[float], meta=dict[str, Any])
    async def run_async(self, text: str) -> dict[str, Any]:
        """Return the same as `run`."""
        return _one(await self._clients.call_async("embed", [text], **self._embed_options()))


@component
class SemserveDocumentEmbedder(_ServerComponent):
    """Embeds documents with a semserve server; a list of any length is one call."""

    def __init__(  # noqa: PLR0913 - the options of the call
        self,
        address: str | None = None,
        *,
        model: str = "",
        normalize: bool | None = None,
        dimensions: int | None = None,
        prompt_name: str | None = None,
        meta_fields_to_embed: list[str] | None = None,
        embedding_separator: str = "\n",
        key: Secret | None = None,
        timeout: float | None = 30.0,
        client: Client | None = None,
        async_client: AsyncClient | None = None,
    ) -> None:
        """Keep the options, as `SemserveTextEmbedder`.

        Args:
            address: as of `SemserveTextEmbedder`, like all that is not listed here.
            model: name of an embedding model.
            normalize: whether vectors have unit length.
            dimensions: keep only the first so many.
            prompt_name: the model's prompt before each document.
            meta_fields_to_embed: fields of the metadata whose values stand before the content.
            embedding_separator: stands between these values and the content.
            key: API key.
            timeout: seconds a call may take.
            client: used in place of a new one.
            async_client: the same for `run_async`.
        """
        parameters = {
            "address": address, "model": model, "normalize": normalize, "dimensions": dimensions,
            "prompt_name": prompt_name, "meta_fields_to_embed": meta_fields_to_embed,
            "embedding_separator": embedding_separator, "key": key, "timeout": timeout,
        }  # fmt: skip
        self._set_up(parameters, client, async_client)

    @component.output_types(documents=list[Document], meta=dict[str, Any])
    def run(self, documents: list[Document]) -> dict[str, Any]:
        """Return copies of the documents with their vectors, and `meta`.

        Raises:
            InvalidRequest: a document has no text; `fields` names it.
        """
        if not documents:
            return {"documents": [], "meta": {}}
        texts = self._texts(documents)
        return _embedded(documents, self._clients.call("embed", texts, **self._embed_options()))

    @component.output_types(documents=list[Document], meta=dict[str, Any])
    async def run_async(self, documents: list[Document]) -> dict[str, Any]:
        """Return the same as `run`."""
        if not documents:
            return {"documents": [], "meta": {}}
        texts, options = self._texts(documents), self._embed_options()
        return _embedded(documents, await self._clients.call_async("embed", texts, **options))

    def _texts(self, documents: list[Document]) -> list[str]:
        fields = self._parameters["meta_fields_to_embed"] or []
        separator: str = self._parameters["embedding_separator"]
        parts = [
            [str(one.meta[name]) for name in fields if one.meta.get(name) is not None]
            + [one.content or ""]
            for one in documents
        ]
        return check_texts([separator.join(part) for part in parts], "documents")


@component
class SemserveRanker(_ServerComponent):
    """Sorts documents by their relevance to a query, best first, and sets their `score`."""

    def __init__(  # noqa: PLR0913 - the options of the call
        self,
        address: str | None = None,
        *,
        model: str = "",
        top_k: int | None = None,
        by: RankBy = "score_model",
        key: Secret | None = None,
        timeout: float | None = 30.0,
        client: Client | None = None,
        async_client: AsyncClient | None = None,
    ) -> None:
        """Keep the options, as `SemserveTextEmbedder`.

        Args:
            address: as of `SemserveTextEmbedder`, like all that is not listed here.
            model: name of a model; may be left out as for `Client.rerank`.
            top_k: how many documents to keep; by default all.
            by: "score_model", or "embedding_model" to rank by the likeness of vectors.
            key: API key.
            timeout: seconds a call may take.
            client: used in place of a new one.
            async_client: the same for `run_async`.
        """
        self._method = method_of(by)
        parameters = {
            "address": address, "model": model, "top_k": top_k, "by": by, "key": key,
            "timeout": timeout,
        }  # fmt: skip
        self._set_up(parameters, client, async_client)

    @component.output_types(documents=list[Document])
    def run(
        self, query: str, documents: list[Document], top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """Return copies of the best documents, best first; `top_k` overrides the component's.

        Raises:
            InvalidRequest: a document has no text; `fields` names it.
        """
        if not documents:
            return {"documents": []}
        texts, options = _contents(documents), self._rank_options(top_k)
        return _ranked(documents, self._clients.call(self._method, query, texts, **options))

    @component.output_types(documents=list[Document])
    async def run_async(
        self, query: str, documents: list[Document], top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """Return the same as `run`."""
        if not documents:
            return {"documents": []}
        texts, options = _contents(documents), self._rank_options(top_k)
        found = await self._clients.call_async(self._method, query, texts, **options)
        return _ranked(documents, found)

    def _rank_options(self, top_k: int | None) -> dict[str, Any]:
        default = self._parameters["top_k"]
        return {"model": self._parameters["model"], "top_k": default if top_k is None else top_k}


def _contents(documents: list[Document]) -> list[str]:
    return check_texts([document.content for document in documents], "documents")


def _one(found: Embeddings) -> dict[str, Any]:
    return {"embedding": found[0].tolist(), "meta": _meta(found)}


def _embedded(documents: list[Document], found: Embeddings) -> dict[str, Any]:
    pairs = zip(documents, found.vectors.tolist(), strict=True)
    return {
        "documents": [replace(document, embedding=vector) for document, vector in pairs],
        "meta": _meta(found),
    }


def _meta(found: Embeddings) -> dict[str, Any]:
    return {"model": found.model, "usage": {"total_tokens": found.usage.token_count}}


def _ranked(documents: list[Document], ranking: Ranking) -> dict[str, list[Document]]:
    return {"documents": [replace(documents[hit.index], score=hit.score) for hit in ranking]}
