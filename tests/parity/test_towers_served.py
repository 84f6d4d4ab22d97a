"""Models of two texts through the server: it answers as the model itself predicts."""

import grpc
import numpy as np
import pytest
import semserve_export
from parity import two_text_models as models
from parity.serving import serving
from parity.two_text_models import vectorization
from semserve import Client
from semserve.v1 import score_pb2, score_pb2_grpc

PAIRS = (
    ("the cat sat on the mat", "a dog"),
    ("film", "we saw a really very good film tonight, and then a really bad one"),
    ("we left the house", "we left the house tonight"),
    ("The Cat!", "quixotic dog"),
)


def answers(model, left, right):
    """Ask a model about pairs, each alone, as its author would."""
    read = vectorization()
    rows = []
    for pair in zip(left, right, strict=True):
        ids = [np.asarray(read([text])) for text in pair]
        named = dict(zip(("premise", "hypothesis"), ids, strict=True))
        given = named if isinstance(getattr(model, "input", None), dict) else ids
        rows.append(np.asarray(model(given), np.float64).reshape(-1))
    return np.array(rows)


SERVED = {
    "average": models.cosine_by_dot,
    "sides": models.a_dense_layer_for_each_side,
    "subclass": models.by_tensorflow,
    "score": models.score_of_a_difference,
    "classes": models.classes_of_both,
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models")
    made = {name: make() for name, make in SERVED.items()}
    reports = {
        name: semserve_export.export(model, directory / name, tokenizer=vectorization())
        for name, model in made.items()
    }
    return directory, made, reports


@pytest.fixture(scope="module")
def address(exported):
    with serving(exported[0]) as address:
        yield address


@pytest.fixture(scope="module")
def client(address):
    with Client(address) as client:
        yield client


@pytest.mark.parametrize("name", ["average", "sides", "subclass"])
def test_compare_gives_what_the_model_predicts_in_both_directions_alone_and_together(
    exported, client, name
):
    pairs = [*PAIRS, *(pair[::-1] for pair in PAIRS)]
    expected = answers(exported[1][name], *zip(*pairs, strict=True))[:, 0]
    assert np.ptp(expected) > 0.05, "the pairs must differ"
    together = client.compare(pairs, model=name).scores
    alone = [client.compare([pair], model=name).scores[0] for pair in pairs]
    np.testing.assert_allclose(together, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(alone, expected, rtol=0, atol=1e-5)


def test_rank_reads_the_query_by_the_left_encoder_and_documents_by_the_right(exported, client):
    query, documents = PAIRS[0][0], [pair[1] for pair in PAIRS]
    expected = answers(exported[1]["sides"], [query] * len(documents), documents)[:, 0]
    hits = client.rank(query, documents, model="sides")
    np.testing.assert_allclose(
        [hit.score for hit in hits], np.sort(expected)[::-1], rtol=0, atol=1e-5
    )
    assert list(np.argsort(-expected)) == [hit.index for hit in hits]


def test_a_model_of_pairs_is_scored_with_its_two_texts_apart(exported, address):
    expected = answers(exported[1]["score"], *zip(*PAIRS, strict=True))[:, 0]
    request = score_pb2.ScoreRequest(
        model="score", pairs=[score_pb2.ScorePair(left=a, right=b) for a, b in PAIRS]
    )
    with grpc.insecure_channel(address) as channel:
        scores = score_pb2_grpc.ScoreServiceStub(channel).Score(request).scores
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5)


def test_a_classifier_of_pairs_is_classified_with_its_two_texts_apart(exported, client):
    expected = answers(exported[1]["classes"], *zip(*PAIRS, strict=True))
    scores = client.classify(list(PAIRS), model="classes").scores
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5)


def test_the_report_says_how_the_model_was_understood(exported):
    reports = exported[2]
    reported = {
        name: (one.fact("towers").value, one.manifest["task"]) for name, one in reports.items()
    }
    apart = "none: the two texts are separate inputs of one graph"
    assert {
        "average": ("one encoder for both sides", "embedding"),
        "sides": ("an encoder for each side", "embedding"),
        "subclass": ("one encoder for both sides", "embedding"),
        "score": (apart, "score"),
        "classes": (apart, "classification"),
    } == reported
    assert ("cosine", "found") == (
        reports["sides"].fact("metric").value,
        reports["sides"].fact("metric").origin,
    )
    assert all(one.value <= one.bound for each in reports.values() for one in each.measures)
