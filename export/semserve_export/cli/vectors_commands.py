"""The command `train --vectors`. It imports Keras, so the command line imports it late."""

from collections.abc import Sequence
from pathlib import Path

from semserve_export.cli.terminal import console
from semserve_export.data.pairs import TrainingData
from semserve_export.failures import naming_a_full_disk
from semserve_export.training.files import MODEL
from semserve_export.training.plan import TrainingPlan
from semserve_export.word_vectors.pair_classifier import (
    WORDS,
    require_plan,
    train_pair_classifier,
)


def train(
    vectors: Path, labels: Sequence[str], data: TrainingData, plan: TrainingPlan, output: Path
) -> None:
    """Train, and print the accuracy and the command that exports the model."""
    require_plan(plan)
    with console.status("") as status, naming_a_full_disk(output):
        accuracy = train_pair_classifier(vectors, labels, data, plan, output, status.update)
    flags = " ".join(f"--label {label}" for label in labels)
    console.print(
        f"Model in {output}; accuracy on the held-out pairs {accuracy:.4f}. Export it with"
        f" semserve-export export {output / MODEL} --tokenizer {output / WORDS} {flags}"
    )
