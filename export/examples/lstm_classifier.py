"""Exports an LSTM classifier of film reviews with its own vocabulary.

.venv-export/bin/python export/examples/lstm_classifier.py
"""

# ruff: noqa: INP001, T201 - a script that prints, and no module of a package

import os
import tempfile
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import semserve_export
import tensorflow as tf
from keras import layers
from local_server import serve
from semserve import Client

REVIEWS = (
    ("A wonderful film, warm and clever", 1),
    ("The best comedy that I saw this year!", 1),
    ("I loved every minute of this wonderful story", 1),
    ("Dull, slow and far too long", 0),
    ("The worst film of the year, dull from start to end", 0),
    ("I left after an hour: a slow and stupid story", 0),
)
NEW = ["A clever, wonderful comedy.", "Slow and dull!", "I loved the start, and left at the end"]


def build(texts: list[str]) -> keras.Model:
    """Build a model of texts: the words of the reviews, their vectors, an LSTM, two classes."""
    words = layers.TextVectorization(max_tokens=1000)
    words.adapt(texts)
    return keras.Sequential(
        [
            keras.Input((1,), dtype="string"),
            words,
            layers.Embedding(words.vocabulary_size(), 16, mask_zero=True),
            layers.LSTM(12),
            layers.Dense(2, activation="softmax"),
        ]
    )


def main() -> None:
    """Train, export, serve, and compare the server's answers with the model's."""
    keras.utils.set_random_seed(1)
    texts, labels = map(list, zip(*REVIEWS, strict=True))
    model = build(texts)
    model.compile(optimizer=keras.optimizers.Adam(0.03), loss="sparse_categorical_crossentropy")
    model.fit(tf.constant(texts)[:, None], np.array(labels), epochs=8, verbose=0)
    expected = np.concatenate([model.predict_on_batch(tf.constant([[text]])) for text in NEW])

    with tempfile.TemporaryDirectory() as directory:
        semserve_export.export(model, Path(directory, "reviews"), labels=["bad", "good"])
        with serve(Path(directory)) as address, Client(address) as client:
            together = client.classify(NEW)
            alone = [client.classify([text]).scores[0] for text in NEW]
    for text, label, scores in zip(NEW, together.labels, together.scores, strict=True):
        print(f"{label}, {scores.max():.2f}: {text}")
    np.testing.assert_allclose(together.scores, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(alone, expected, rtol=0, atol=1e-5)


if __name__ == "__main__":
    main()
