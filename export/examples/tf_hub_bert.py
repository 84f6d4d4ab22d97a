"""Exports a BERT that is a SavedModel of TF Hub, with one call.

The script makes a tiny random one. A real one is the directory that was downloaded from TF Hub or
Kaggle: its signature has the same names, and its vocabulary is `assets/vocab.txt`.

    .venv-export/bin/python export/examples/tf_hub_bert.py
"""

# ruff: noqa: INP001, T201 - a script that prints, and no module of a package

import os
import tempfile
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras_hub
import numpy as np
import semserve_export
import tensorflow as tf
from local_server import serve
from semserve import Client

WORDS = "two bedroom apartment by a park large flat close to parks"
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS.split()]
TEXTS = ["two bedroom apartment by a park", "large flat close to parks", "flat"]
LENGTH = 16  # most tokens of a text
INPUTS = ("input_word_ids", "input_mask", "input_type_ids")


class TfHubBert(tf.Module):
    """A BERT with the inputs and outputs that TF Hub's have."""

    def __init__(self, vocabulary: Path) -> None:
        super().__init__()
        self.encoder = keras_hub.models.BertBackbone(
            vocabulary_size=len(VOCABULARY),
            num_layers=1,
            num_heads=2,
            hidden_dim=16,
            intermediate_dim=32,
            max_sequence_length=LENGTH,
        )
        draw = np.random.default_rng(1)
        for variable in self.encoder.weights:  # what Keras draws makes all texts alike
            variable.assign(draw.normal(0, 0.3, variable.shape))
        self.variables_of_encoder = [variable.value for variable in self.encoder.weights]
        self.vocab_file = tf.saved_model.Asset(str(vocabulary))
        self.do_lower_case = tf.Variable(True, trainable=False)

    @tf.function(
        input_signature=[tf.TensorSpec([None, None], tf.int32, name=name) for name in INPUTS]
    )
    def __call__(self, input_word_ids, input_mask, input_type_ids):
        """Give `pooled_output` and `sequence_output`."""
        return self.encoder(
            {
                "token_ids": input_word_ids,
                "padding_mask": input_mask,
                "segment_ids": input_type_ids,
            }
        )


def save(directory: Path) -> None:
    """Write the SavedModel."""
    vocabulary = directory.parent / "vocab.txt"
    vocabulary.write_text("\n".join(VOCABULARY) + "\n")
    module = TfHubBert(vocabulary)
    tf.saved_model.save(module, str(directory), signatures=module.__call__)


def pooled(saved: Path, text: str) -> np.ndarray:
    """Ask the SavedModel itself, as its user does: ids of the words between [CLS] and [SEP]."""
    pieces = ["[CLS]", *text.split(), "[SEP]"]
    ids = tf.constant([[VOCABULARY.index(piece) for piece in pieces]])
    encoder = tf.saved_model.load(str(saved)).signatures["serving_default"]
    found = encoder(
        input_word_ids=ids, input_mask=tf.ones_like(ids), input_type_ids=tf.zeros_like(ids)
    )
    return found["pooled_output"].numpy()[0]


def main() -> None:
    """Save, export, serve, and hold the server's answers to the SavedModel's own."""
    with tempfile.TemporaryDirectory() as directory:
        saved, models = Path(directory, "saved"), Path(directory, "models")
        save(saved)
        # A SavedModel is a program: `trust` says that this one may run.
        report = semserve_export.export(saved, models / "tf-hub-bert", trust=True)
        print("pooling:", report.fact("pooling").value)
        with serve(models) as address, Client(address) as client:
            vectors = client.embed(TEXTS).vectors
        expected = np.stack([pooled(saved, text) for text in TEXTS])
    for text, vector, keras_vector in zip(TEXTS, vectors, expected, strict=True):
        print(text, vector[:3], "through gRPC,", keras_vector[:3], "in TensorFlow")
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


if __name__ == "__main__":
    main()
