"""Exports the average of static word vectors, with its own word index and matrix.

The vectors are random here; a real matrix contains vectors of GloVe, word2vec or fastText.

    .venv-export/bin/python export/examples/average_embedder.py
"""

# ruff: noqa: INP001, T201 - a script that prints, and no module of a package

import os
import tempfile
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import semserve_export
from keras import layers
from local_server import serve
from semserve import Client

ADVERTISEMENTS = [
    "Two-bedroom apartment by a park",
    "large flat with two bedrooms, close to parks",
    "a garage in the centre of the town",
]
QUERY = "bedroom close to a park"
WORDS = sorted(
    {"a", "apartment", "bedroom", "bedrooms", "by", "centre", "close", "flat", "garage", "in"}
    | {"large", "of", "park", "parks", "the", "to", "town", "two", "with"}
)
WORD_INDEX = {word: place for place, word in enumerate(WORDS, start=1)}  # 0 is padding


def build(matrix: np.ndarray) -> keras.Model:
    """Build the model: word ids of any length, frozen vectors, and their average."""
    return keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            layers.Embedding(
                *matrix.shape,
                embeddings_initializer=keras.initializers.Constant(matrix),
                trainable=False,
                mask_zero=True,
            ),
            layers.GlobalAveragePooling1D(),
        ]
    )


def ids_of(text: str) -> np.ndarray:
    """Look up the words of a text, as Keras splits it; a word without an id is left out."""
    words = keras.src.legacy.preprocessing.text.text_to_word_sequence(text)
    return np.array([[WORD_INDEX[word] for word in words if word in WORD_INDEX]])


def main() -> None:
    """Build, export, serve, and hold the server's answers to the model's own."""
    matrix = np.random.default_rng(1).normal(0, 1, (len(WORDS) + 1, 100)).astype(np.float32)
    model = build(matrix)
    expected = np.concatenate([np.asarray(model(ids_of(text))) for text in ADVERTISEMENTS])

    with tempfile.TemporaryDirectory() as directory:
        bundle = Path(directory, "homes")
        report = semserve_export.export(model, bundle, tokenizer=WORD_INDEX, metric="cosine")
        print("a word without an id is", report.fact("words").value.rpartition(": ")[2])
        with serve(Path(directory)) as address, Client(address) as client:
            together = client.embed(ADVERTISEMENTS).vectors
            alone = [client.embed([text]).vectors[0] for text in ADVERTISEMENTS]
            for hit in client.rank(QUERY, ADVERTISEMENTS):
                print(f"{hit.score:.2f}: {hit.text}")
    np.testing.assert_allclose(together, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(alone, expected, rtol=0, atol=1e-5)


if __name__ == "__main__":
    main()
