"""Trains a classifier of pairs on the user's word vectors, in plain Keras, and saves it.

One bidirectional LSTM encodes both texts. Texts are split as by Keras's `Tokenizer`; words without
a vector are dropped.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from semserve_export.data.pairs import Pair, TrainingData
from semserve_export.encoder_weights import Array
from semserve_export.errors import ExportError
from semserve_export.keras_models.word_index import FILTERS, WordIndex
from semserve_export.training.files import MODEL
from semserve_export.training.plan import TrainingPlan
from semserve_export.word_vectors.vectors_file import read_vectors

UNITS = 64  # units of the LSTM in each direction
RATE = 1e-3  # rate of Adam, if the plan has none
USED = frozenset(
    {"epochs", "batch_size", "learning_rate", "label_smoothing", "dropout", "train_embeddings"}
    | {"patience", "max_tokens", "seed"}
)
"""The fields of a plan that this training supports."""
WORDS = "words.json"


def require_plan(plan: TrainingPlan) -> None:
    """Refuse flags that this training does not support.

    Raises:
        ExportError: the message names the flag.
    """
    default = TrainingPlan()
    for field in fields(plan):
        if field.name not in USED and getattr(plan, field.name) != getattr(default, field.name):
            flag = f"--{field.name.replace('_', '-')}"
            raise ExportError(f"{flag}: is for transformers, and --vectors trains an LSTM")


def train_pair_classifier(
    vectors: Path,
    labels: Sequence[str],
    data: TrainingData,
    plan: TrainingPlan,
    output: Path,
    step: Callable[[str], None],
) -> float:
    """Train, and write `model.keras` and the word index `words.json`.

    Args:
        vectors: a file of word vectors, as `read_vectors` reads it.
        labels: the classes, in the order of the outputs.
        data: the training data and the held-out data.
        plan: epochs, rates and the seed.
        output: the directory.
        step: called with what is done next.

    Returns:
        The accuracy on the held-out pairs.

    Raises:
        WeightsError: the vectors cannot be read.
    """
    keras.utils.set_random_seed(plan.seed)
    step("reading the vectors")
    index, table = _table(vectors, data)
    model = build_pair_classifier(table, len(labels), plan)
    rate = RATE if plan.learning_rate is None else plan.learning_rate
    model.compile(
        keras.optimizers.Adam(rate, global_clipnorm=plan.gradient_norm_max),
        keras.losses.CategoricalCrossentropy(label_smoothing=plan.label_smoothing),
        metrics=["accuracy"],
    )
    reader = WordIndex.of_mapping(index)
    inputs, held_out = (
        _inputs(reader, files.pairs, plan.max_tokens) for files in (data.training, data.validation)
    )
    targets, wanted = (
        keras.utils.to_categorical([pair.label for pair in files.pairs], len(labels))
        for files in (data.training, data.validation)
    )
    callbacks: list[Any] = [
        keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: step(
                f"epoch {epoch + 1}: accuracy {logs['val_accuracy']:.4f}"
            )
        )
    ]
    if plan.patience:
        callbacks.append(
            keras.callbacks.EarlyStopping(
                "val_accuracy", patience=plan.patience, restore_best_weights=True
            )
        )
    model.fit(
        inputs,
        targets,
        plan.batch_size,
        plan.epochs,
        verbose=0,
        callbacks=callbacks,
        validation_data=(held_out, wanted),
    )
    output.mkdir(parents=True, exist_ok=True)
    model.save(output / MODEL)
    (output / WORDS).write_text(json.dumps(index, ensure_ascii=False), encoding="utf-8")
    return float(model.evaluate(held_out, wanted, verbose=0)[1])


def build_pair_classifier(table: Array, classes: int, plan: TrainingPlan) -> keras.Model:
    """Build the model: two inputs of word ids of any length, and a probability for each class.

    Args:
        table: fp32 [words + 1, dimensions]; row 0 is that of padding.
        classes: number of classes.
        plan: the dropout, and whether the vectors are trained.
    """
    texts = [keras.Input((None,), dtype="int32", name=name) for name in ("premise", "hypothesis")]
    words = layers.Embedding(
        *table.shape, mask_zero=True, trainable=plan.train_embeddings, name="words"
    )
    encoder = layers.Bidirectional(layers.LSTM(UNITS), name="encoder")
    left, right = (encoder(words(text)) for text in texts)
    words.set_weights([table])
    seen = layers.Concatenate()([left, right, ops.abs(left - right), left * right])
    hidden = layers.Dense(UNITS, activation="relu")(layers.Dropout(plan.dropout)(seen))
    outputs = layers.Dense(classes, activation="softmax")(layers.Dropout(plan.dropout)(hidden))
    return keras.Model(texts, outputs)


def _table(path: Path, data: TrainingData) -> tuple[dict[str, int], Array]:
    """Return the ids of the words that have a vector, from 1, and the table of their vectors."""
    used = {
        word
        for files in (data.training, data.validation)
        for pair in files.pairs
        for text in (pair.premise, pair.hypothesis)
        for word in text.lower().translate(dict.fromkeys(map(ord, FILTERS), " ")).split(" ")
    }
    vectors = {
        word: vector for word, vector in read_vectors(path, used).items() if _can_occur(word)
    }
    if not vectors:
        raise ExportError(f"{path}: no word of it can occur in a text; words are in lower case")
    index = {word: place for place, word in enumerate(vectors, start=1)}
    rows = np.stack(list(vectors.values()))
    return index, np.concatenate([np.zeros((1, rows.shape[1]), np.float32), rows])


def _can_occur(word: str) -> bool:
    """Return whether Keras's `Tokenizer` can produce this word."""
    return word == word.lower() and not set(word) & set(FILTERS + " ")


def _inputs(reader: WordIndex, pairs: Sequence[Pair], most: int) -> Mapping[str, Any]:
    """Return the ids of both sides, int32 [pairs, tokens], padded at the end."""
    sides = {
        "premise": [pair.premise for pair in pairs],
        "hypothesis": [pair.hypothesis for pair in pairs],
    }
    read = {name: reader.read(texts) for name, texts in sides.items()}
    longest = {name: max(1, *(min(len(ids), most) for ids in rows)) for name, rows in read.items()}
    return {
        name: keras.utils.pad_sequences(rows, longest[name], padding="post", truncating="post")
        for name, rows in read.items()
    }
