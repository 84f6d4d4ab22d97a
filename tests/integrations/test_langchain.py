"""The adapters of LangChain give what the client gives, through LangChain's own classes."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from semserve import Client, InvalidRequest

pytest.importorskip("langchain_core", reason="LangChain is not there: `make test-integrations`")
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore
from semserve.integrations.langchain import (
    SemserveCrossEncoder,
    SemserveEmbeddings,
    SemserveReranker,
)

TEXTS = ["a dog", "cat sat on a mat", "sea"]


def test_queries_and_documents_have_their_own_prompts() -> None:
    embeddings = SemserveEmbeddings(query_prompt_name="query", document_prompt_name="passage")
    with Client() as client:
        documents = client.embed(TEXTS, prompt_name="passage").vectors
        query = client.embed(TEXTS[:1], prompt_name="query").vectors[0]
    np.testing.assert_allclose(documents, embeddings.embed_documents(TEXTS), rtol=1e-6)
    np.testing.assert_allclose(query, embeddings.embed_query(TEXTS[0]), rtol=1e-6)
    assert not np.allclose(documents[0], query)


async def test_the_asynchronous_methods_give_the_same() -> None:
    embeddings = SemserveEmbeddings(normalize=True, dimensions=3)
    assert embeddings.embed_documents(TEXTS) == await embeddings.aembed_documents(TEXTS)
    assert embeddings.embed_query("sea") == await embeddings.aembed_query("sea")
    assert 3 == len(embeddings.embed_query("sea"))
    await embeddings.clients.close_async()


def test_no_texts_are_no_vectors() -> None:
    assert [] == SemserveEmbeddings("127.0.0.1:1").embed_documents([])


def test_an_empty_text_is_refused_by_its_place() -> None:
    with pytest.raises(InvalidRequest) as refused:
        SemserveEmbeddings().embed_documents(["a dog", ""])
    assert ["texts[1]"] == [*refused.value.fields]


def test_a_pickled_adapter_embeds_and_one_with_a_client_is_refused() -> None:
    embeddings = SemserveEmbeddings()
    vector = embeddings.embed_query("sea")
    assert vector == pickle.loads(pickle.dumps(embeddings)).embed_query("sea")  # noqa: S301
    with Client() as client, pytest.raises(TypeError, match=r"^client: "):
        pickle.dumps(SemserveEmbeddings(client=client))


async def test_a_given_client_is_used_and_not_closed(address: str) -> None:
    with Client(address) as client:
        embeddings = SemserveEmbeddings(client=client)
        assert embeddings.embed_query("sea") == await embeddings.aembed_query("sea")
        embeddings.clients.close()
        assert client.embed(["sea"]).vectors.size
        with pytest.raises(ValueError, match=r"^client: "):
            SemserveEmbeddings(address, client=client)


def test_a_vector_store_finds_the_nearest_document() -> None:
    store = InMemoryVectorStore.from_texts(TEXTS, SemserveEmbeddings())
    assert TEXTS[1] == store.similarity_search(TEXTS[1], k=1)[0].page_content


@pytest.mark.parametrize(("by", "method"), [("score_model", "rerank"), ("embedding_model", "rank")])
async def test_documents_are_sorted_by_the_scores_of_the_client(by: str, method: str) -> None:
    documents = [Document(text, metadata={"place": place}) for place, text in enumerate(TEXTS)]
    reranker = SemserveReranker(by=by, top_n=2)
    found = reranker.compress_documents(documents, "dog")
    with Client() as client:
        expected = getattr(client, method)("dog", TEXTS, top_k=2)
    assert [hit.index for hit in expected] == [one.metadata["place"] for one in found]
    assert [hit.score for hit in expected] == [one.metadata["relevance_score"] for one in found]
    assert found == await reranker.acompress_documents(documents, "dog")
    assert {"place": 0} == documents[0].metadata
    assert [] == reranker.compress_documents([], "dog")


def test_no_form_of_the_reranker_shows_its_key(address: str) -> None:
    reranker = SemserveReranker(address=address, key="name.hidden")
    forms = (repr(reranker), str(reranker.model_dump()), reranker.model_dump_json())
    assert not [form for form in forms if "hidden" in form]
    assert "hidden" not in repr(SemserveEmbeddings(address, key="name.hidden").clients)


def test_the_cross_encoder_gives_the_scores_of_pairs() -> None:
    pairs = [("dog", "a dog"), ("sea", "sun")]
    with Client() as client:
        assert client.score(pairs).scores.tolist() == SemserveCrossEncoder().score(pairs)
    assert [] == SemserveCrossEncoder().score([])
