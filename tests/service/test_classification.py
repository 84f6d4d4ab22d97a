"""ClassificationService over a real grpc.aio server and a real, tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import InProcess
from refusals import refusal
from semserve.v1.classification_pb2 import ClassifyPair, ClassifyRequest
from semserve.v1.classification_pb2_grpc import ClassificationServiceStub

PAIR = ClassifyPair(premise="a man is eating", hypothesis="a man is sleeping")


@pytest.fixture
def stub(service: InProcess) -> ClassificationServiceStub:
    return ClassificationServiceStub(service.channel)


async def test_scores_are_the_softmax_of_the_logits_and_sum_to_one(
    stub: ClassificationServiceStub,
) -> None:
    response = await stub.Classify(ClassifyRequest(pairs=[PAIR]))
    one = response.results[0].classification
    scores = {score.label: score.score for score in one.scores}
    assert ["entailment", "neutral", "contradiction"] == list(scores)
    assert 1 == pytest.approx(sum(scores.values()), abs=1e-6)
    assert max(scores, key=scores.__getitem__) == one.label
    powers = np.exp(np.array(one.logits))
    np.testing.assert_allclose(powers / powers.sum(), list(scores.values()), rtol=1e-5)


async def test_the_server_answers_as_keras_did(
    stub: ClassificationServiceStub, tiny_models: Path
) -> None:
    golden = json.loads((tiny_models / "tiny-nli" / "golden.json").read_text())
    pairs = [
        ClassifyPair(premise=case["premise"], hypothesis=case["hypothesis"])
        for case in golden["cases"]
    ]
    expected = np.array([case["logits"] for case in golden["cases"]])
    response = await stub.Classify(ClassifyRequest(pairs=pairs))
    logits = np.array([list(one.classification.logits) for one in response.results])
    assert np.abs(logits - expected).max() <= 1e-5


@pytest.mark.parametrize(("pair", "fields"), [
    (ClassifyPair(premise="a"), {
        "pairs[1].hypothesis": "is missing: this model classifies pairs"
    }),
    (ClassifyPair(hypothesis="a"), {"pairs[1].premise": "is empty"}),
    (ClassifyPair(premise="a", hypothesis=""), {"pairs[1].hypothesis": "is empty"}),
    (ClassifyPair(premise="a", hypothesis="x" * 5000), {
        "pairs[1].hypothesis": "5000 bytes, at most 4096"
    }),
])  # fmt: skip
async def test_a_bad_pair_is_named_and_with_partial_answers_harms_no_other(
    stub: ClassificationServiceStub, pair: ClassifyPair, fields: dict[str, str]
) -> None:
    refused = await refusal(stub.Classify(ClassifyRequest(pairs=[PAIR, pair])))
    assert fields == refused.fields
    response = await stub.Classify(ClassifyRequest(pairs=[PAIR, pair], allow_partial=True))
    outcomes = [one.WhichOneof("outcome") for one in response.results]
    assert ["classification", "error"] == outcomes


async def test_an_embedder_does_not_classify(stub: ClassificationServiceStub) -> None:
    refused = await refusal(stub.Classify(ClassifyRequest(pairs=[PAIR], model="tiny-embed")))
    assert {"model": "'tiny-embed' is not a classifier"} == refused.fields
