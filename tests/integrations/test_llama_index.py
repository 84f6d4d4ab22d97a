"""The adapters of LlamaIndex give what the client gives, through LlamaIndex's own classes."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from semserve import Client

pytest.importorskip("llama_index.core", reason="LlamaIndex is not there: `make test-integrations`")
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import NodeWithScore, TextNode
from semserve.integrations.llama_index import SemserveEmbedding, SemserveRerank

TEXTS = ["a dog", "cat sat on a mat", "sea"]


def test_queries_and_texts_have_their_own_prompts() -> None:
    embedding = SemserveEmbedding(query_prompt_name="query", text_prompt_name="passage")
    with Client() as client:
        texts = client.embed(TEXTS, prompt_name="passage").vectors
        query = client.embed(TEXTS[:1], prompt_name="query").vectors[0]
    np.testing.assert_allclose(texts, embedding.get_text_embedding_batch(TEXTS), rtol=1e-6)
    np.testing.assert_allclose(texts[0], embedding.get_text_embedding(TEXTS[0]), rtol=1e-6)
    np.testing.assert_allclose(query, embedding.get_query_embedding(TEXTS[0]), rtol=1e-6)


async def test_the_asynchronous_methods_give_the_same() -> None:
    embedding = SemserveEmbedding(normalize=True, dimensions=3)
    batch = await embedding.aget_text_embedding_batch(TEXTS)
    assert embedding.get_text_embedding_batch(TEXTS) == batch
    assert batch[2] == await embedding.aget_text_embedding("sea")
    assert embedding.get_query_embedding("sea") == await embedding.aget_query_embedding("sea")


def test_an_index_retrieves_the_nearest_node() -> None:
    nodes = [TextNode(text=text) for text in TEXTS]
    index = VectorStoreIndex(nodes, embed_model=SemserveEmbedding())
    found = index.as_retriever(similarity_top_k=1).retrieve(TEXTS[1])
    assert [TEXTS[1]] == [one.text for one in found]


def test_the_stored_form_has_no_key_and_makes_the_same_adapter(address: str) -> None:
    embedding = SemserveEmbedding(address=address, key="name.hidden", dimensions=3)
    assert "hidden" not in f"{embedding!r} {embedding.to_dict()} {embedding.to_json()}"
    made = SemserveEmbedding.from_dict(embedding.to_dict())
    assert 3 == len(made.get_query_embedding("sea"))
    reranker = SemserveRerank(address=address, key="name.hidden")
    assert "hidden" not in f"{reranker!r} {reranker.to_dict()} {reranker.to_json()}"


def test_a_pickled_adapter_embeds_and_one_with_a_client_is_refused() -> None:
    embedding = SemserveEmbedding()
    vector = embedding.get_query_embedding("sea")
    made = pickle.loads(pickle.dumps(embedding))  # noqa: S301
    assert vector == made.get_query_embedding("sea")
    with Client() as client, pytest.raises(TypeError, match=r"^client: "):
        pickle.dumps(SemserveEmbedding(client=client))


@pytest.mark.parametrize(("by", "method"), [("score_model", "rerank"), ("embedding_model", "rank")])
async def test_nodes_are_sorted_by_the_scores_of_the_client(by: str, method: str) -> None:
    nodes = [NodeWithScore(node=TextNode(text=text)) for text in TEXTS]
    reranker = SemserveRerank(by=by, top_n=2)
    found = reranker.postprocess_nodes(nodes, query_str="dog")
    with Client() as client:
        expected = getattr(client, method)("dog", TEXTS, top_k=2)
    assert [(hit.text, hit.score) for hit in expected] == [(one.text, one.score) for one in found]
    assert found == await reranker.apostprocess_nodes(nodes, query_str="dog")
    assert [] == reranker.postprocess_nodes([], query_str="dog")
    with pytest.raises(ValueError, match="query"):
        reranker.postprocess_nodes(nodes)
