"""Both Python clients against a real server over the tiny bundles."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from semserve import AsyncClient, Client, InvalidRequest, ModelNotFound

TEXTS = ["the cat sat", "a dog ran far", "the cat sat", "rain"]
MANY = [f"text {place} of many" for place in range(600)]


def test_embeds_in_the_order_of_the_texts(ask, server_address):
    found = ask(server_address, {}, "embed", TEXTS)
    assert ("tiny-embed", 4, np.float32) == (found.model, len(found), found.vectors.dtype)
    np.testing.assert_array_equal(found[0], found[2])
    assert not np.array_equal(found[0], found[1])
    assert found.usage.token_count == found.token_counts.sum() > 0
    assert {} == found.errors


def test_long_lists_come_back_whole_and_in_order(ask, server_address):
    """A list of many requests gives what its texts give alone."""
    seen: list[tuple[int, int]] = []
    options = {"chunk": 64, "progress": lambda *done: seen.append(done)}
    found = ask(server_address, options, "embed", MANY)
    some = [0, 63, 64, 300, 599]
    alone = ask(server_address, {}, "embed", [MANY[place] for place in some])
    np.testing.assert_allclose(alone.vectors, found.vectors[some], atol=1e-5)
    assert (600, 600) == (len(found), len(found.token_counts))
    assert (600, 600) == seen[-1]
    assert sorted(seen) == seen


def test_an_error_in_a_long_list_names_the_callers_place(ask, server_address):
    with pytest.raises(InvalidRequest) as caught:
        ask(server_address, {"chunk": 64}, "embed", [*MANY[:200], "", *MANY[200:]])
    assert ["texts[200]"] == list(caught.value.fields)
    assert "texts[200]" in str(caught.value)


def test_good_texts_are_answered_beside_bad_ones(ask, server_address):
    texts = [*MANY[:99], "", *MANY[99:150]]
    found = ask(server_address, {"chunk": 64}, "embed", texts, allow_partial=True)
    assert [99] == list(found.errors)
    assert ["texts[99]"] == list(found.errors[99].fields)
    assert [99] == np.isnan(found.vectors).all(axis=1).nonzero()[0].tolist()


@pytest.mark.parametrize(("encoding", "most"), [("float32", 0), ("float16", 1e-3), ("int8", 1e-2)])
def test_encodings_differ_by_no_more_than_their_width(ask, server_address, encoding, most):
    plain = ask(server_address, {}, "embed", TEXTS)
    packed = ask(server_address, {}, "embed", TEXTS, encoding=encoding)
    np.testing.assert_allclose(plain.vectors, packed.vectors, atol=most)


def test_vectors_can_be_cut_and_scaled(ask, server_address):
    found = ask(server_address, {}, "embed", TEXTS, dimensions=4, normalize=True)
    assert (4, 4) == found.vectors.shape
    np.testing.assert_allclose(np.ones(4), np.linalg.norm(found.vectors, axis=1), atol=1e-6)


def test_tells_what_truncation_dropped_and_refuses_it_where_asked(ask, server_address):
    long = "word " * 1000
    found = ask(server_address, {}, "embed", [long, "short"])
    assert found.truncated_tokens[0] > 0
    assert 0 == found.truncated_tokens[1]
    with pytest.raises(InvalidRequest) as caught:
        ask(server_address, {}, "embed", ["short", long], truncation="none")
    assert ["texts[1]"] == list(caught.value.fields)


def test_classifies_pairs(ask, server_address):
    pairs = [("it rains", "it is wet"), ("a cat", "a dog")]
    found = ask(server_address, {}, "classify", pairs)
    assert ("entailment", "neutral", "contradiction") == found.classes
    np.testing.assert_allclose([1, 1], found.scores.sum(axis=1), atol=1e-5)
    for row, (one, label) in enumerate(zip(found, found.labels, strict=True)):
        assert one.label == label == found.classes[found.logits[row].argmax()]
    many = ask(server_address, {"chunk": 64}, "classify", pairs * 100)
    np.testing.assert_allclose(found.scores, many.scores[-2:], atol=1e-5)


def test_a_pair_without_its_hypothesis_is_refused_with_its_place(ask, server_address):
    with pytest.raises(InvalidRequest) as caught:
        ask(server_address, {"chunk": 2}, "classify", [("a", "b"), ("a", "b"), "alone"])
    assert ["pairs[2].hypothesis"] == list(caught.value.fields)


def test_scores_agree_with_each_other(ask, server_address):
    """Compare, matrix, rank and search tell the same of the same texts."""
    square = ask(server_address, {}, "matrix", TEXTS).scores
    assert (4, 4) == square.shape
    pairs = [(left, right) for left in TEXTS for right in TEXTS]
    compared = ask(server_address, {"chunk": 5}, "compare", pairs)
    np.testing.assert_allclose(square.ravel(), np.asarray(compared), atol=1e-5)

    ranking = ask(server_address, {"chunk": 3}, "rank", TEXTS[1], TEXTS)
    scores = [hit.score for hit in ranking]
    assert sorted(scores, reverse=True) == scores
    np.testing.assert_allclose(square[1][[hit.index for hit in ranking]], scores, atol=1e-5)
    assert [TEXTS[hit.index] for hit in ranking] == [hit.text for hit in ranking]

    (hits,) = ask(server_address, {"chunk": 4}, "search", [TEXTS[1]], TEXTS, top_k=2)
    assert [hit.index for hit in ranking][:2] == [hit.index for hit in hits]


def test_metrics_are_chosen_by_name(ask, server_address):
    pair = [(TEXTS[0], TEXTS[1])]
    scores = {
        metric: float(ask(server_address, {}, "compare", pair, metric=metric)[0])
        for metric in ("cosine", "dot", "euclidean", "manhattan")
    }
    assert scores["euclidean"] < 0 < scores["manhattan"] < 1
    assert -1 <= scores["cosine"] <= 1


def test_a_matrix_of_two_lists_has_a_row_a_left_text(ask, server_address):
    found = ask(server_address, {}, "matrix", TEXTS, TEXTS[:3])
    assert (4, 3) == found.scores.shape
    assert len(found) == 4


def test_describes_the_models(ask, server_address):
    listed = ask(server_address, {}, "models")
    assert ["tiny-embed", "tiny-nli"] == [model.name for model in listed]
    embedder, classifier = listed
    assert ("embedding", "classification") == (embedder.task, classifier.task)
    assert classifier.takes_pairs
    assert classifier.metric is None
    assert embedder.metric in {"cosine", "dot", "euclidean", "manhattan"}
    assert embedder == ask(server_address, {}, "model", "tiny-embed")


def test_shows_how_a_model_reads(ask, server_address):
    (found,) = ask(server_address, {}, "tokenize", ["the cat"])
    assert len(found.tokens) == len(found.ids) == len(found.spans)
    assert ((0, 0), (0, 0)) == (found.spans[0], found.spans[-1])  # the special tokens
    assert (0, 7) == (found.spans[1][0], found.spans[-2][1])
    assert 0 == found.truncated_tokens


def test_asks_after_health(ask, server_address):
    assert "serving" == ask(server_address, {}, "health")
    assert "serving" == ask(server_address, {}, "health", "tiny-nli")
    with pytest.raises(ModelNotFound):
        ask(server_address, {}, "health", "nobody")


def test_unknown_models_are_named(ask, server_address):
    with pytest.raises(ModelNotFound, match="nobody"):
        ask(server_address, {}, "embed", TEXTS, model="nobody")


def test_a_stream_answers_every_batch_and_survives_a_bad_one(ask, server_address):
    batches = [[f"batch {place}"] if place != 7 else [""] for place in range(40)]
    answers = ask(server_address, {}, "stream_embed", batches)
    by_index = {answer.index: answer for answer in answers}
    assert list(range(40)) == sorted(by_index)
    assert isinstance(by_index.pop(7).error, InvalidRequest)
    alone = ask(server_address, {}, "embed", [batches[39][0]])
    np.testing.assert_allclose(alone.vectors, by_index[39].result.vectors, atol=1e-5)
    assert not any(answer.error for answer in by_index.values())


def test_a_stream_of_pairs_answers_them(ask, server_address):
    answers = ask(server_address, {}, "stream_classify", [[("a", "b")], [("c", "d"), ("e", "f")]])
    assert {0: 1, 1: 2} == {answer.index: len(answer.result) for answer in answers}


def test_watch_tells_at_once_how_it_stands(server_address):
    with Client(server_address) as client:
        watched = client.watch("tiny-embed")
        assert "serving" == next(watched)
        watched.close()
        assert "service_unknown" == next(client.watch("nobody"))


async def test_watch_tells_at_once_how_it_stands_asyncio(server_address):
    async with AsyncClient(server_address) as client:
        assert "serving" == await anext(aiter(client.watch()))


async def test_one_asyncio_client_carries_many_calls_at_once(server_address):
    async with AsyncClient(server_address) as client:
        found = await asyncio.gather(*(client.embed([text]) for text in MANY[:50]))
        whole = await client.embed(MANY[:50])
    alone = np.concatenate([one.vectors for one in found])
    np.testing.assert_allclose(whole.vectors, alone, atol=1e-5)
