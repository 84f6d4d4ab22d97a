"""Exports a Siamese network on BERT, compared by exp(-L1), with one call.

The encoder here is tiny and random, so that the script needs no download and no training. With real
weights the backbone and the preprocessor come from `from_preset`, `model.fit` trains on pairs and
their scores, and nothing else changes.

    .venv-export/bin/python export/examples/siamese_bert.py
"""

# ruff: noqa: INP001, T201 - a script that prints, and no module of a package

import os
import tempfile
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import keras_hub
import numpy as np
import semserve_export
import tensorflow as tf
from local_server import serve
from semserve import Client

WORDS = (
    "two bedroom apartment flat next to a park in the city large close parks and good schools"
    " senior lead software engineer developer full stack marketing manager"
)
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS.split()]
PAIRS = [
    ("two bedroom apartment next to a park", "large flat close to parks and good schools"),
    ("senior software engineer", "lead full stack developer"),
    ("senior software engineer", "marketing manager"),
    ("a flat", "a flat in the city"),
]


def build() -> keras.Model:
    """Build the two-input model: one encoder for both texts, and a Lambda that compares."""
    tokenizer = keras_hub.models.BertTokenizer(VOCABULARY, lowercase=True)
    preprocessor = keras_hub.models.BertTextClassifierPreprocessor(tokenizer, sequence_length=24)
    encoder = keras_hub.models.BertBackbone(
        vocabulary_size=len(VOCABULARY),
        num_layers=1,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        max_sequence_length=24,
    )
    draw = np.random.default_rng(1)
    for variable in encoder.weights:  # what Keras draws makes all texts alike
        variable.assign(draw.normal(0, 0.2, variable.shape))
    left, right = (keras.Input((), dtype="string", name=name) for name in ("left", "right"))
    vectors = [encoder(preprocessor(text))["pooled_output"] for text in (left, right)]
    similarity = keras.layers.Lambda(
        lambda pair: keras.ops.exp(-keras.ops.sum(keras.ops.abs(pair[0] - pair[1]), axis=1))
    )(vectors)
    return keras.Model([left, right], similarity)


def main() -> None:
    """Build, export, serve, and hold the server's answers to the model's own."""
    model = build()
    sides = [tf.constant(side) for side in zip(*PAIRS, strict=True)]
    expected = model.predict(sides, verbose=0)

    with tempfile.TemporaryDirectory() as directory:
        report = semserve_export.export(model, Path(directory, "siamese-bert"), variants=())
        print(report.fact("towers").value, "compared by", report.fact("metric").value)
        with serve(Path(directory)) as address, Client(address) as client:
            scores = client.compare(PAIRS).scores
    for pair, keras_score, served in zip(PAIRS, expected, scores, strict=True):
        print(f"{keras_score:.6f} in Keras, {served:.6f} through gRPC: {pair[0]} / {pair[1]}")
    np.testing.assert_allclose(scores, expected, atol=1e-5)


if __name__ == "__main__":
    main()
