"""Each adapter sends the key that it was given."""

from __future__ import annotations

import pytest
from semserve import Unauthenticated

pytest.importorskip("haystack", reason="Haystack is not there: `make test-integrations`")
pytest.importorskip("langchain_core", reason="LangChain is not there: `make test-integrations`")
pytest.importorskip("llama_index.core", reason="LlamaIndex is not there: `make test-integrations`")
from haystack.utils import Secret
from langchain_core.documents import Document
from llama_index.core.schema import NodeWithScore, TextNode
from semserve.integrations.haystack import SemserveTextEmbedder
from semserve.integrations.langchain import SemserveEmbeddings, SemserveReranker
from semserve.integrations.llama_index import SemserveEmbedding, SemserveRerank


async def test_langchain(secured: tuple[str, str]) -> None:
    address, key = secured
    embeddings = SemserveEmbeddings(address, key=key)
    assert embeddings.embed_query("sea") == await embeddings.aembed_query("sea")
    reranker = SemserveReranker(address=address, key=key)
    assert 1 == len(reranker.compress_documents([Document("sea")], "sea"))
    with pytest.raises(Unauthenticated):
        SemserveEmbeddings(address).embed_query("sea")


async def test_llama_index(secured: tuple[str, str]) -> None:
    address, key = secured
    embedding = SemserveEmbedding(address=address, key=key)
    assert embedding.get_query_embedding("sea") == await embedding.aget_query_embedding("sea")
    nodes = [NodeWithScore(node=TextNode(text="sea"))]
    reranker = SemserveRerank(address=address, key=key)
    assert 1 == len(reranker.postprocess_nodes(nodes, query_str="sea"))
    with pytest.raises(Unauthenticated):
        SemserveEmbedding(address=address).get_query_embedding("sea")


async def test_haystack(secured: tuple[str, str]) -> None:
    address, key = secured
    embedder = SemserveTextEmbedder(address, key=Secret.from_token(key))
    assert embedder.run("sea") == await embedder.run_async("sea")
    with pytest.raises(Unauthenticated):
        SemserveTextEmbedder(address).run("sea")
