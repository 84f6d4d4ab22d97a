"""The components of Haystack give what the client gives, alone and in a real pipeline."""

from __future__ import annotations

import numpy as np
import pytest
from semserve import Client, InvalidRequest

pytest.importorskip("haystack", reason="Haystack is not there: `make test-integrations`")
from haystack import Document, Pipeline
from haystack.utils import Secret
from semserve.integrations.haystack import (
    SemserveDocumentEmbedder,
    SemserveRanker,
    SemserveTextEmbedder,
)

TEXTS = ["a dog", "cat sat on a mat", "sea"]


async def test_a_query_has_its_vector_and_the_count_of_its_tokens() -> None:
    embedder = SemserveTextEmbedder(prompt_name="query")
    found = embedder.run("a dog")
    with Client() as client:
        expected = client.embed(["a dog"], prompt_name="query")
    np.testing.assert_allclose(expected.vectors[0], found["embedding"], rtol=1e-6)
    tokens = {"total_tokens": expected.usage.token_count}
    assert {"model": "tiny-prompted", "usage": tokens} == found["meta"]
    assert found == await embedder.run_async("a dog")
    embedder.close()
    await embedder.close_async()
    assert found == embedder.run("a dog")


async def test_documents_get_their_vectors_and_the_callers_are_unchanged() -> None:
    documents = [Document(content=text, meta={"title": "sun", "none": None}) for text in TEXTS]
    fields = {"meta_fields_to_embed": ["title", "none"], "embedding_separator": " "}
    embedder = SemserveDocumentEmbedder(**fields)
    found = embedder.run(documents)["documents"]
    with Client() as client:
        expected = client.embed([f"sun {text}" for text in TEXTS]).vectors
    np.testing.assert_allclose(expected, [one.embedding for one in found], rtol=1e-6)
    assert [None] * 3 == [one.embedding for one in documents]
    assert [one.id for one in documents] == [one.id for one in found]
    assert found == (await embedder.run_async(documents))["documents"]
    assert {"documents": [], "meta": {}} == embedder.run([])


@pytest.mark.parametrize("content", [None, ""])
def test_a_document_without_a_text_is_refused_by_its_place(content: str | None) -> None:
    documents = [Document(content="a dog"), Document(content=content)]
    with pytest.raises(InvalidRequest) as refused:
        SemserveDocumentEmbedder().run(documents)
    assert {"documents[1]": "has no text"} == refused.value.fields
    with pytest.raises(InvalidRequest) as refused:
        SemserveRanker().run("dog", documents)
    assert {"documents[1]": "has no text"} == refused.value.fields


@pytest.mark.parametrize(("by", "method"), [("score_model", "rerank"), ("embedding_model", "rank")])
async def test_documents_are_sorted_by_the_scores_of_the_client(by: str, method: str) -> None:
    documents = [Document(content=text) for text in TEXTS]
    ranker = SemserveRanker(by=by, top_k=2)
    found = ranker.run("dog", documents)["documents"]
    with Client() as client:
        expected = getattr(client, method)("dog", TEXTS, top_k=2)
    hits = [(hit.text, hit.score) for hit in expected]
    assert hits == [(one.content, one.score) for one in found]
    assert found == (await ranker.run_async("dog", documents))["documents"]
    assert found[:1] == ranker.run("dog", documents, top_k=1)["documents"]
    assert {"documents": []} == ranker.run("dog", [])


def test_a_stored_pipeline_gives_the_same_and_has_no_key(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEARCH_KEY", "name.hidden")
    key = Secret.from_env_var("SEARCH_KEY")
    pipeline = Pipeline()
    pipeline.add_component("text", SemserveTextEmbedder(address, key=key))
    pipeline.add_component("documents", SemserveDocumentEmbedder(dimensions=3))
    pipeline.add_component("ranker", SemserveRanker(top_k=1))
    pipeline.connect("documents.documents", "ranker.documents")
    inputs = {
        "text": {"text": "dog"},
        "documents": {"documents": [Document(content=text) for text in TEXTS]},
        "ranker": {"query": "dog"},
    }
    stored = pipeline.dumps()
    assert "hidden" not in stored
    made = Pipeline.loads(stored, allowed_modules=["semserve.integrations.haystack"])
    assert pipeline.run(inputs) == made.run(inputs)


def test_what_cannot_be_stored_is_refused(address: str) -> None:
    with Client() as client, pytest.raises(ValueError, match=r"^client: "):
        SemserveTextEmbedder(client=client).to_dict()
    with pytest.raises(ValueError, match="token"):
        SemserveTextEmbedder(address, key=Secret.from_token("name.hidden")).to_dict()
    with pytest.raises(ValueError, match=r"^by: "):
        SemserveRanker(by="likeness")
