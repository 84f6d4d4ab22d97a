"""Both Python clients, and the command, against a real server over a model of each kind."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_kinds
from semserve import InvalidRequest
from tiny_bundles import VOCABULARY, joined, single

pytestmark = pytest.mark.xdist_group("kinds")
PAIRS = [("cat sat on", "a dog"), ("sea", "a cat sat on a mat"), ("town", "bus")]


def expected(pairs: list[tuple[str, str]]) -> list[float]:
    logits = [tiny_kinds.ordered_logit(joined(*pair, hypothesis_first=False)) for pair in pairs]
    return [1 / (1 + np.exp(-logit)) for logit in logits]


def test_pairs_are_scored_in_their_order_however_many(ask, kinds_address):
    found = ask(kinds_address, {"chunk": 7}, "score", PAIRS * 20)
    np.testing.assert_allclose(found.scores, expected(PAIRS) * 20, atol=1e-5)
    assert ("tiny-score", 60, {}, 0) == (
        found.model,
        len(found),
        found.errors,
        found.truncated_tokens,
    )
    named = [{"document": right, "query": left} for left, right in PAIRS]
    np.testing.assert_allclose(ask(kinds_address, {}, "score", named), expected(PAIRS), atol=1e-5)


def test_texts_are_scored_by_a_model_of_texts(ask, kinds_address):
    texts = ["cat sat", "dog"]
    found = ask(kinds_address, {}, "score", texts, model="tiny-regression")
    logits = [tiny_kinds.ordered_logit(single(text)) for text in texts]
    np.testing.assert_allclose(found.scores, logits, atol=1e-5)


def test_bad_pairs_have_their_errors_at_the_callers_places(ask, kinds_address):
    given = [*PAIRS, ("a", ""), *PAIRS, ("half a \ud83d", "b")]
    found = ask(kinds_address, {"chunk": 3}, "score", given, allow_partial=True)
    assert [3, 7] == list(found.errors)
    assert ["pairs[3].right"] == list(found.errors[3].fields)
    assert [3, 7] == np.isnan(found.scores).nonzero()[0].tolist()
    with pytest.raises(InvalidRequest) as caught:
        ask(kinds_address, {"chunk": 3}, "score", given[:4])
    assert ["pairs[3].right"] == list(caught.value.fields)


def test_pairs_and_texts_are_not_mixed(ask, kinds_address):
    with pytest.raises(TypeError, match="all of two texts, or all single texts"):
        ask(kinds_address, {}, "score", ["a", ("a", "b")])


def test_rerank_of_many_requests_is_the_rerank_of_one(ask, kinds_address):
    documents = [f"dog {'sat ' * place}" for place in range(9)] + ["sea", "sun"]
    whole = ask(kinds_address, {}, "rerank", "cat", documents)
    parts = ask(kinds_address, {"chunk": 4}, "rerank", "cat", documents, top_k=5)
    assert [hit.index for hit in whole][:5] == [hit.index for hit in parts]
    scores = expected([("cat", document) for document in documents])
    assert int(np.argmax(scores)) == whole[0].index
    assert documents[whole[0].index] == whole[0].text


def test_sparse_vectors_come_in_the_order_of_the_texts(ask, kinds_address):
    texts = ["cat sat", "dog", "sea sun"]
    found = ask(kinds_address, {"chunk": 2}, "embed_sparse", texts, include_tokens=True)
    for text, vector in zip(texts, found, strict=True):
        weights = tiny_kinds.sparse_weights(text)
        assert np.flatnonzero(weights).tolist() == vector.indices.tolist()
        np.testing.assert_allclose(vector.values, weights[weights > 0], atol=1e-6)
        assert [VOCABULARY[index] for index in vector.indices] == list(vector.tokens)
    best = ask(kinds_address, {}, "embed_sparse", texts, top_k=1)
    assert [1, 1, 1] == [len(vector) for vector in best]
    partial = ask(kinds_address, {"chunk": 1}, "embed_sparse", ["", "dog"], allow_partial=True)
    assert [0] == list(partial.errors)
    assert 0 == len(partial.vectors[0]) < len(partial[1])
    with pytest.raises(InvalidRequest):
        _ = partial[0]


def test_prompts_and_sides_are_named(ask, kinds_address):
    def embed(text: str, **named: object) -> list[float]:
        return ask(kinds_address, {}, "embed", [text], **named).vectors[0].tolist()

    model = {"model": "tiny-prompted"}
    plain = tiny_kinds.mean(single("dog"))
    assert plain.tolist() == pytest.approx(embed("dog", prompt_name="", **model), abs=1e-6)
    assert embed("passage: dog", prompt_name="", **model) == embed("dog", **model)
    right = tiny_kinds.sided_vector("dog", 1).tolist()
    assert right == pytest.approx(embed("dog", model="tiny-sided", side="right"), abs=1e-6)
    query, document = (tiny_kinds.mean(single(f"{name}: dog")) for name in ("query", "passage"))
    names = {"prompt_name": "query", "document_prompt_name": "passage", **model}
    (hit,) = ask(kinds_address, {}, "rank", "dog", ["dog"], **names)
    assert float(query @ document) == pytest.approx(hit.score, abs=1e-5)
    ((found,),) = ask(kinds_address, {}, "search", ["dog"], ["dog"], **names)
    assert hit.score == pytest.approx(found.score, abs=1e-6)
    names = {"prompt_name": "query", "right_prompt_name": "passage", **model}
    assert [hit.score] == pytest.approx(
        ask(kinds_address, {}, "compare", [("dog", "dog")], **names).scores, abs=1e-6
    )
    assert [[hit.score]] == pytest.approx(
        ask(kinds_address, {}, "matrix", ["dog"], **names).scores, abs=1e-6
    )


def test_truncation_is_told_of_similarities(ask, kinds_address):
    found = ask(kinds_address, {}, "rank", "cat", ["dog " * 20], model="tiny-prompted")
    assert 11 == found.truncated_tokens  # 20 words, a prompt and 2 special tokens, of 12


def test_models_and_the_server_describe_themselves(ask, kinds_address):
    model = ask(kinds_address, {}, "model", "tiny-score-hypothesis-first")
    assert ("score", "none", ("hypothesis", "premise"), "ready", "") == (
        model.task,
        model.scores,
        model.text_order,
        model.state,
        model.reason,
    )
    prompted = ask(kinds_address, {}, "model", "tiny-prompted")
    assert ("passage", tiny_kinds.PROMPTS) == (prompted.default_prompt, prompted.prompts)
    assert ("left", "right") == ask(kinds_address, {}, "model", "tiny-sided").sides
    info = ask(kinds_address, {}, "server_info")
    assert (2048, 65_536) == (info.limits["max_request_texts"], info.limits["max_text_bytes"])
    assert {
        "embedding": "tiny-embed",
        "classification": "tiny-nli",
        "score": "tiny-score",
        "sparse_embedding": "tiny-sparse",
    } == info.default_models


class TestCommand:
    @pytest.fixture
    def run(self, command, kinds_address, monkeypatch):
        """Run the command against the server of every kind."""
        monkeypatch.setenv("SEMSERVE_ADDRESS", kinds_address)
        return command

    def test_score_shows_a_number_for_each_pair(self, run):
        head, line = run("score", *PAIRS[0]).out.splitlines()
        assert ["left", "right", "score"] == head.split()
        assert f"{expected(PAIRS[:1])[0]:.4f}" == line.split()[-1]
        found = run("score", *PAIRS[0], "--output", "json").document
        (result,) = found["results"]
        assert PAIRS[0] == (result["left"], result["right"])
        assert expected(PAIRS[:1]) == pytest.approx([result["score"]], abs=1e-5)
        (text,) = run("score", "dog", "--model", "tiny-regression", "--output", "json").document[
            "results"
        ]
        assert "dog" == text["text"]

    def test_rerank_shows_the_best_first(self, run):
        lines = run("rerank", "cat", "a dog", "sea sun", "mat").out.splitlines()[1:]
        scores = [float(line.split()[0]) for line in lines]
        assert sorted(scores, reverse=True) == scores
        (hit,) = run("rerank", "cat", "a dog", "mat", "--top-k", "1", "--output", "json").document[
            "hits"
        ]
        assert ["a dog", "mat"][hit["index"]] == hit["text"]

    def test_prompt_name_is_a_flag(self, run):
        def vector(text: str, *flags: str) -> list[float]:
            output = run("embed", text, "--model", "tiny-prompted", "--output", "json", *flags)
            return output.document["results"][0]["vector"]

        named = vector("dog", "--prompt-name", "query")
        assert vector("query: dog", "--prompt-name", "") == named != vector("dog")
        both = ("--prompt-name", "query", "--document-prompt-name", "")
        ranked = run("rank", "dog", "dog", "--model", "tiny-prompted", "--output", "json", *both)
        query, document = (tiny_kinds.mean(single(text)) for text in ("query: dog", "dog"))
        (hit,) = ranked.document["hits"]
        assert float(query @ document) == pytest.approx(hit["score"], abs=1e-5)
        refused = run("embed", "dog", "--model", "tiny-prompted", "--prompt-name", "title")
        assert (1, 1) == (refused.code, len(refused.err.splitlines()))
        assert "its prompts are: bare, passage, query" in refused.err

    def test_models_tells_states_and_info_tells_limits(self, run):
        lines = run("models").out.splitlines()
        assert any("state" in line for line in lines[:2])
        assert all("ready" in line for line in lines if line.startswith("tiny-score "))
        assert "2048" in run("info").out
        assert 2048 == run("info", "--output", "json").document["limits"]["max_request_texts"]
