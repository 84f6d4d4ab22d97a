"""The exported models, through a real server: numbers that others have published for them."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from conftest import ROOT
from semserve.v1 import classification_pb2, embedding_pb2, similarity_pb2
from semserve.v1.classification_pb2_grpc import ClassificationServiceStub
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub
from semserve.v1.similarity_pb2_grpc import SimilarityServiceStub

LENGTHS = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 300)
STS = ROOT.parent / "shared" / "data" / "sts" / "stsb_dev.tsv.gz"


@pytest.fixture
def channel(real_address: str) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(real_address) as channel:
        yield channel


def embed(channel: grpc.Channel, texts: list[str]) -> np.ndarray:
    response = EmbeddingServiceStub(channel).Embed(embedding_pb2.EmbedRequest(texts=texts))
    return np.array([list(one.embedding.values) for one in response.results])


def test_hello_world_is_the_vector_that_sentence_transformers_gives(channel: grpc.Channel) -> None:
    expected = [-0.034478, 0.03102, 0.00673, 0.02611, -0.039362]
    np.testing.assert_allclose(embed(channel, ["hello world"])[0, :5], expected, atol=1e-5)


@pytest.mark.parametrize("model", ["minilm-l6-v2", "nli-minilm"])
def test_the_server_answers_as_keras_did_alone_and_together(
    channel: grpc.Channel, real_models: Path, model: str
) -> None:
    cases = json.loads((real_models / model / "golden.json").read_text())["cases"]
    if model == "minilm-l6-v2":
        expected = np.array([case["embedding"] for case in cases])
        texts = [case["text"] for case in cases]
        alone = np.concatenate([embed(channel, [text]) for text in texts])
        together = embed(channel, texts)
    else:
        expected = np.array([case["logits"] for case in cases])
        pairs = [(case["premise"], case["hypothesis"]) for case in cases]
        alone = np.concatenate([logits(channel, [pair]) for pair in pairs])
        together = logits(channel, pairs)
    assert np.abs(alone - expected).max() <= 1e-5
    assert np.abs(together - expected).max() <= 1e-5


def test_neighbours_and_padding_do_not_change_a_vector(channel: grpc.Channel) -> None:
    sentence = "while the old boats came home slowly over a grey and silent sea"
    words = sentence.split()
    texts = [" ".join((words * 30)[start : start + size]) for start, size in enumerate(LENGTHS)]
    together = embed(channel, texts)
    alone = np.concatenate([embed(channel, [text]) for text in texts])
    assert np.abs(together - alone).max() <= 1e-5


def logits(channel: grpc.Channel, pairs: list[tuple[str, str]]) -> np.ndarray:
    response = classify(channel, pairs)
    return np.array([list(one.classification.logits) for one in response.results])


def classify(
    channel: grpc.Channel, pairs: list[tuple[str, str]]
) -> classification_pb2.ClassifyResponse:
    request = classification_pb2.ClassifyRequest(
        pairs=[
            classification_pb2.ClassifyPair(premise=premise, hypothesis=hypothesis)
            for premise, hypothesis in pairs
        ]
    )
    return ClassificationServiceStub(channel).Classify(request)


def test_the_classifier_labels_sensibly(channel: grpc.Channel) -> None:
    pairs = {
        ("It is raining", "It is sunny"): {"contradiction"},
        ("I am taking the subway to Times Square.", "I am taking a train."): {"entailment"},
        ("A man is playing a guitar on stage.", "A man is playing music."): {"entailment"},
        ("A woman is walking her dog.", "The woman is asleep in bed."): {"contradiction"},
        ("A man is eating in a restaurant.", "The man is waiting for his wife."): {"neutral"},
    }
    results = classify(channel, list(pairs)).results
    labels = [one.classification.label for one in results]
    assert [True] * len(pairs) == [
        label in allowed for label, allowed in zip(labels, pairs.values(), strict=True)
    ], labels
    for one in results:
        assert 1 == pytest.approx(sum(s.score for s in one.classification.scores), abs=1e-6)


def test_the_classifier_knows_that_times_square_is_in_midtown(channel: grpc.Channel) -> None:
    pair = (
        "I am taking the subway to Times Square.",
        "I am using public transport to reach midtown.",
    )
    assert classify(channel, [pair]).results[0].classification.label in {"entailment", "neutral"}


def test_sts_benchmark_dev_correlates_as_published(channel: grpc.Channel) -> None:
    if not STS.is_file():
        pytest.skip("the STS-B data is not beside this checkout; it may not be redistributed")
    with gzip.open(STS, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    scores: list[float] = []
    for start in range(0, len(rows), 500):
        pairs = [
            similarity_pb2.ComparePair(left=row["sentence1"], right=row["sentence2"])
            for row in rows[start : start + 500]
        ]
        request = similarity_pb2.CompareRequest(pairs=pairs)
        scores += SimilarityServiceStub(channel).Compare(request).scores
    correlation = spearman(scores, [float(row["score"]) for row in rows])
    assert 86.7 == pytest.approx(100 * correlation, abs=0.1)


def spearman(left: list[float], right: list[float]) -> float:
    """Return the correlation of ranks, where equal values share their mean rank."""
    ranks = []
    for values in (left, right):
        _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
        ends = np.cumsum(counts)
        ranks.append((ends - (counts - 1) / 2)[inverse])
    return float(np.corrcoef(ranks)[0, 1])
