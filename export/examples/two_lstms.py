"""Two LSTMs on static word vectors, compared by cosine: a different encoder for each side.

The vectors and the LSTMs are random here. A real table comes from GloVe or word2vec, and
`model.fit` trains on pairs and their scores; nothing else changes.

    .venv-export/bin/python export/examples/two_lstms.py
"""

# ruff: noqa: INP001, T201 - a script that prints, and no module of a package

import os
import tempfile
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import semserve_export
from local_server import serve
from semserve import Client

QUESTIONS = ["how do i train a network", "what is the weather in chicago", "where is the station"]
ANSWERS = ["train it on many examples", "cold and windy today", "the station is near the lake"]
WORDS = sorted({word for text in QUESTIONS + ANSWERS for word in text.split()})
WORD_INDEX = {word: place for place, word in enumerate(WORDS, start=1)}  # 0 is padding


def build(vectors: np.ndarray) -> keras.Model:
    """Build the two-input model: frozen vectors, an LSTM for each side, and the cosine."""
    questions, answers = (keras.Input((None,), dtype="int32", name=name) for name in ("q", "a"))
    embedding = keras.layers.Embedding(*vectors.shape, mask_zero=True, trainable=False)
    embedding.build()
    embedding.set_weights([vectors])
    encoded = [keras.layers.LSTM(16)(embedding(ids)) for ids in (questions, answers)]
    cosine = keras.layers.Lambda(
        lambda pair: keras.ops.sum(
            keras.ops.normalize(pair[0]) * keras.ops.normalize(pair[1]), axis=1, keepdims=True
        )
    )(encoded)
    return keras.Model([questions, answers], cosine)


def ids_of(texts: list[str]) -> np.ndarray:
    """Look words up, and pad at the end; a word that is not in the index is left out."""
    rows = [[WORD_INDEX[word] for word in text.split() if word in WORD_INDEX] for text in texts]
    return keras.utils.pad_sequences(rows, padding="post")


def main() -> None:
    """Build, export, serve, and hold the server's answers to the model's own."""
    keras.utils.set_random_seed(1)
    model = build(np.random.default_rng(1).normal(0, 1, (len(WORDS) + 1, 12)).astype(np.float32))
    sides = [ids_of(QUESTIONS), ids_of(ANSWERS)]
    expected = model.predict(sides, verbose=0)[:, 0]

    with tempfile.TemporaryDirectory() as directory:
        report = semserve_export.export(model, Path(directory, "two-lstms"), tokenizer=WORD_INDEX)
        print(report.fact("towers").value, "compared by", report.fact("metric").value)
        with serve(Path(directory)) as address, Client(address) as client:
            scores = client.compare(list(zip(QUESTIONS, ANSWERS, strict=True))).scores
            best = client.rank(QUESTIONS[2], ANSWERS)
    for question, answer, keras_score, served in zip(
        QUESTIONS, ANSWERS, expected, scores, strict=True
    ):
        print(f"{keras_score:.6f} in Keras, {served:.6f} through gRPC: {question} / {answer}")
    print("the nearest answer to", QUESTIONS[2], "is", best[0].text)
    np.testing.assert_allclose(scores, expected, atol=1e-5)


if __name__ == "__main__":
    main()
