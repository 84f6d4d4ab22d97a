"""Exports a cross-encoder that sorts documents by their relevance to a query (Rerank).

Its backbone is tiny and random here. A directory of sentence-transformers needs no script:
`semserve-export export ./ms-marco-MiniLM-L6-v2`.

    .venv-export/bin/python export/examples/cross_encoder.py
"""

# ruff: noqa: INP001, T201 - a script that prints, and no module of a package

import os
import tempfile
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import grpc
import keras
import keras_hub
import numpy as np
import semserve_export
from local_server import serve
from semserve.v1 import score_pb2, score_pb2_grpc

QUERY = "how do i train a network"
DOCUMENTS = [
    "bread needs flour, water, salt and time.",
    "train a network by gradient descent on labelled examples.",
    "the train to the coast leaves at six.",
    "a network of rivers feeds the lake.",
]
SIZE = {"num_layers": 1, "num_heads": 2, "hidden_dim": 32, "intermediate_dim": 64}


def build() -> keras.Model:
    """Build a tiny DistilBERT whose vocabulary is letters, with one output from 0 to 1."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [*special, *".,", *letters, *(f"##{letter}" for letter in letters)]
    tokenizer = keras_hub.models.DistilBertTokenizer(vocabulary=pieces, lowercase=True)
    model = keras_hub.models.DistilBertTextClassifier(
        keras_hub.models.DistilBertBackbone(len(pieces), max_sequence_length=128, **SIZE),
        num_classes=1,
        activation="sigmoid",
        preprocessor=keras_hub.models.DistilBertTextClassifierPreprocessor(
            tokenizer, sequence_length=128
        ),
    )
    random = np.random.default_rng(1)
    for variable in model.trainable_variables:  # in place of a training
        variable.assign(variable + random.normal(0, 0.3, variable.shape))
    return model


def main() -> None:
    """Export, serve, and hold the order and the scores of Rerank to Keras's own."""
    keras.utils.set_random_seed(1)
    ranker = build()
    queries = np.array([QUERY] * len(DOCUMENTS))
    expected = ranker.predict((queries, np.array(DOCUMENTS)), verbose=0)[:, 0]

    with tempfile.TemporaryDirectory() as directory:
        order = ("premise", "hypothesis")  # the query is the first text, a document the second
        semserve_export.export(ranker, Path(directory, "ranker"), text_order=order)
        with serve(Path(directory)) as address, grpc.insecure_channel(address) as channel:
            service = score_pb2_grpc.ScoreServiceStub(channel)
            request = score_pb2.RerankRequest(query=QUERY, documents=DOCUMENTS)
            hits = service.Rerank(request).hits
    for hit in hits:
        print(f"{hit.score:.3f}: {DOCUMENTS[hit.index]}")
    np.testing.assert_array_equal([hit.index for hit in hits], np.argsort(-expected))
    scores = [hit.score for hit in sorted(hits, key=lambda hit: hit.index)]
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5)


if __name__ == "__main__":
    main()
