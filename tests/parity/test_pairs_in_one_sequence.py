"""Keras's own layers behind a backbone of KerasHub, which takes two texts as one sequence."""

import keras
import keras_hub
import numpy as np
import pytest
import semserve_export
from keras import layers, ops
from parity.conftest import LENGTH_MAX, VOCABULARY, scramble, tiny_backbone
from parity.serving import serving
from semserve import Client
from semserve_export.errors import ExportError

NAMES = ("token_ids", "segment_ids", "padding_mask")
PAIRS = (
    ("the cat sat", "hello world"),
    ("a", "the mat, the cat and a cafe."),
    ("hello [world] " * 12, "the cat " * 4),
)


def preprocessor():
    tokenizer = keras_hub.models.BertTokenizer(VOCABULARY, lowercase=True)
    return keras_hub.models.BertTextClassifierPreprocessor(tokenizer, sequence_length=LENGTH_MAX)


def packed(first, second):
    """What KerasHub makes of pairs: one sequence, whose second text has the segment 1.

    Without `y` a tuple of two is taken for texts and their labels.
    """
    return preprocessor()((list(first), list(second)), y=None)


def pair_classifier():
    backbone = tiny_backbone("tanh", layers=1)
    outputs = layers.Dense(3, activation="softmax")(backbone.output["pooled_output"])
    model = keras.Model(backbone.input, outputs)
    scramble(model)
    return model


def two_inputs():
    """Each text is a sequence of its own, with segments of its own."""
    backbone = tiny_backbone("tanh", layers=1)
    sides = [
        {name: keras.Input((None,), dtype="int32", name=f"{name}_{side}") for name in NAMES}
        for side in ("a", "b")
    ]
    left, right = (backbone(side)["pooled_output"] for side in sides)
    outputs = layers.Dense(2, activation="softmax")(ops.abs(left - right))
    model = keras.Model([tensor for side in sides for tensor in side.values()], outputs)
    scramble(model)
    return model


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models")
    joined, separate = pair_classifier(), two_inputs()
    order = ("hypothesis", "premise")
    report = semserve_export.export(
        joined, directory / "joined", tokenizer=preprocessor(), text_order=order
    )
    other = semserve_export.export(separate, directory / "separate", tokenizer=preprocessor())
    assert "0 for both texts" in other.fact("segment ids").value
    premises, hypotheses = zip(*PAIRS, strict=True)
    alone = [preprocessor()(list(side)) for side in (premises, hypotheses)]
    expected = {
        "joined": joined.predict(packed(hypotheses, premises), verbose=0),
        "separate": separate.predict([side[name] for side in alone for name in NAMES], verbose=0),
    }
    with serving(directory) as address, Client(address) as client:
        yield client, expected, report


@pytest.mark.parametrize("name", ["joined", "separate"])
def test_each_token_has_the_segment_that_keras_hub_gives_it(served, name):
    client, expected, _ = served
    alone = np.concatenate([client.classify([pair], model=name).scores for pair in PAIRS])
    for scores in (alone, client.classify(list(PAIRS), model=name).scores):
        np.testing.assert_allclose(scores, expected[name], rtol=0, atol=1e-5)


def test_the_order_of_the_texts_is_in_the_report_and_the_bundle(served):
    _, _, report = served
    assert ("hypothesis, premise", "stated") == (
        report.fact("order of the texts").value,
        report.fact("order of the texts").origin,
    )
    assert ["hypothesis", "premise"] == report.manifest["text_order"]


def test_a_pair_is_refused_where_nothing_can_join_two_texts(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((None,)),
            layers.Embedding(9, 4, mask_zero=True),
            layers.GRU(3),
            layers.Dense(2, activation="softmax"),
        ]
    )
    with pytest.raises(ExportError, match="pair: the word index puts no separator between two"):
        semserve_export.export(model, tmp_path / "mine", tokenizer={"the": 1, "cat": 2}, pair=True)
