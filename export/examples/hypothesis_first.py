"""Exports the classifier of KerasHub's tutorial on similarity, with the hypothesis first.

Its backbone is tiny and random here; the tutorial's is
`keras_hub.models.BertTextClassifier.from_preset("bert_tiny_en_uncased", num_classes=3)`.

    .venv-export/bin/python export/examples/hypothesis_first.py
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

LABELS = ("contradiction", "entailment", "neutral")
SNLI = (
    ("A man is playing a guitar.", "A man plays music.", 1),
    ("A man is playing a guitar.", "The man is asleep.", 0),
    ("Two dogs run in the snow.", "Two dogs are outside.", 1),
    ("Two dogs run in the snow.", "The dogs belong to a farmer.", 2),
)
"""Pairs of premise and hypothesis, with the place of their label."""
PAIR = ("I am taking the subway to Times Square.", "I am using public transport to reach midtown.")
SIZE = {"num_layers": 1, "num_heads": 2, "hidden_dim": 32, "intermediate_dim": 64}


def build() -> keras.Model:
    """Build a tiny BERT whose vocabulary is letters, with its preprocessor."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [*special, *".,", *letters, *(f"##{letter}" for letter in letters)]
    tokenizer = keras_hub.models.BertTokenizer(vocabulary=pieces, lowercase=True)
    return keras_hub.models.BertTextClassifier(
        keras_hub.models.BertBackbone(len(pieces), max_sequence_length=128, **SIZE),
        num_classes=len(LABELS),
        preprocessor=keras_hub.models.BertTextClassifierPreprocessor(
            tokenizer, sequence_length=128
        ),
    )


def main() -> None:
    """Train as the tutorial does, export, serve, and hold the server's answer to Keras's."""
    keras.utils.set_random_seed(1)
    classifier = build()
    premises, hypotheses, labels = (list(column) for column in zip(*SNLI, strict=True))
    data = tf.data.Dataset.from_tensor_slices(((hypotheses, premises), labels)).batch(2)
    classifier.fit(data, epochs=1, verbose=0, shuffle=False)  # Keras would warn that it does not
    premise, hypothesis = PAIR
    logits = classifier.predict((np.array([hypothesis]), np.array([premise])), verbose=0)[0]
    print("Keras:", LABELS[logits.argmax()])

    with tempfile.TemporaryDirectory() as directory:
        report = semserve_export.export(
            classifier,
            Path(directory, "tutorial"),
            labels=LABELS,
            text_order=("hypothesis", "premise"),
        )
        print("order of the texts:", report.fact("order of the texts").value)
        with serve(Path(directory)) as address, Client(address) as client:
            answer = client.classify([PAIR])  # premise, hypothesis: the server knows the order
    print("gRPC:", answer.labels[0])
    np.testing.assert_allclose(answer.logits[0], logits, rtol=0, atol=1e-5)


if __name__ == "__main__":
    main()
