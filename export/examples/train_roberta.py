r"""Train a small RoBERTa from scratch with KerasHub alone, and save it as a preset.

`nli-roberta` was made in this way. You can train your own classifier likewise: semserve is used
only in `semserve-export export PRESET`. The files have a header and tab-separated columns premise,
hypothesis and label.

    .venv-export/bin/python export/examples/train_roberta.py --preset nli-roberta \
        --train a.tsv.gz b.tsv.gz --validation dev.tsv.gz
"""

# ruff: noqa: INP001 - a script, and no module of a package

import argparse
import csv
import gzip
import json
import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import keras_hub
import numpy as np
import tensorflow as tf
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

LABELS = ("entailment", "neutral", "contradiction")
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
VOCABULARY_SIZE = 6000
POSITIONS = 128  # of the model
TRAINING_TOKENS = 40  # of a pair in training; longer ones are cut
BATCH_SIZE = 64
SIZE = {"num_layers": 2, "num_heads": 4, "hidden_dim": 128, "intermediate_dim": 512}


def main() -> None:
    """Read the files, train, tell the accuracy, save."""
    options = _arguments()
    keras.utils.set_random_seed(options.seed)
    (premises, hypotheses), labels = _read(options.train)
    preprocessor = keras_hub.models.RobertaTextClassifierPreprocessor(
        _tokenizer([*premises, *hypotheses]), sequence_length=TRAINING_TOKENS
    )
    classifier = _classifier(preprocessor, options.learning_rate, len(labels), options.epochs)
    pairs, held_out = _read(options.validation)
    training = tf.data.Dataset.from_tensor_slices(((premises, hypotheses), labels))
    classifier.fit(
        # Given arrays, KerasHub would take them in the order of the file in every epoch.
        training.shuffle(len(labels), seed=options.seed).batch(BATCH_SIZE),
        validation_data=tf.data.Dataset.from_tensor_slices((pairs, held_out)).batch(BATCH_SIZE),
        epochs=options.epochs,
        shuffle=False,  # Keras would warn that it does not
        verbose=2,
    )
    _save(classifier, options.preset)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--train", nargs="+", type=Path, required=True)
    parser.add_argument("--validation", nargs="+", type=Path, required=True)
    parser.add_argument("--preset", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, default=6e-4)
    parser.add_argument("--seed", type=int, default=30)
    return parser.parse_args()


def _read(paths: list[Path]) -> tuple[tuple[list[str], list[str]], np.ndarray]:
    rows = []
    for path in paths:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8") as file:
            rows += list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    rows = [row for row in rows if row["label"] in LABELS]
    sides = [row["premise"] for row in rows], [row["hypothesis"] for row in rows]
    return sides, np.array([LABELS.index(row["label"]) for row in rows])


def _tokenizer(texts: list[str]) -> keras_hub.models.RobertaTokenizer:
    """Learn byte-level BPE; all 256 bytes are in the vocabulary, so that no text is lost."""
    learnt = Tokenizer(models.BPE())
    learnt.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    learnt.train_from_iterator(texts, trainer)
    model = json.loads(learnt.to_str())["model"]
    merges = [" ".join(merge) for merge in model["merges"]]
    return keras_hub.models.RobertaTokenizer(vocabulary=model["vocab"], merges=merges)


def _classifier(preprocessor, rate: float, pairs: int, epochs: int):
    backbone = keras_hub.models.RobertaBackbone(
        vocabulary_size=preprocessor.tokenizer.vocabulary_size(),
        max_sequence_length=POSITIONS,
        dropout=0.1,
        **SIZE,
    )
    classifier = keras_hub.models.RobertaTextClassifier(
        backbone, len(LABELS), preprocessor=preprocessor, dropout=0.1
    )
    steps = epochs * -(-pairs // BATCH_SIZE)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, int(0.9 * steps), warmup_target=rate, warmup_steps=int(0.1 * steps)
    )
    classifier.compile(
        optimizer=keras.optimizers.AdamW(schedule, weight_decay=0.01, global_clipnorm=1.0),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return classifier


def _save(classifier, preset: Path) -> None:
    """Save in half precision, which halves the files."""
    half = keras_hub.models.RobertaTextClassifier(
        keras_hub.models.RobertaBackbone.from_config(
            classifier.backbone.get_config() | {"dtype": "float16"}
        ),
        len(LABELS),
        preprocessor=classifier.preprocessor,
    )
    for saved, trained in zip(half.weights, classifier.weights, strict=True):
        saved.assign(trained.numpy().astype("float16"))
    half.save_to_preset(str(preset))


if __name__ == "__main__":
    main()
