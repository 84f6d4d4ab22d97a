"""The implementation of `train`. This module imports Keras, so the command line imports it late."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import tensorflow as tf
from rich.console import Console

from semserve_export.cli.terminal import training_progress
from semserve_export.data.pairs import Pair, TrainingData
from semserve_export.data.scored_pairs import ScoredPairs
from semserve_export.embedder_training.embedder_plan import EmbedderPlan
from semserve_export.embedder_training.embedder_training import train_embedder
from semserve_export.failures import naming_a_full_disk
from semserve_export.files.downloads import fetch_weights
from semserve_export.options import ModelOptions
from semserve_export.pipeline.custom_model import named_errors
from semserve_export.recipes import Recipe
from semserve_export.training.base_model import start_from_preset, start_from_recipe
from semserve_export.training.classifier_training import train
from semserve_export.training.files import TrainingFiles
from semserve_export.training.plan import TrainingPlan
from semserve_export.training.report import REPORT
from semserve_export.untrusted.model_checks import named, ready_for_keras

ADAPTERS = Path(".cache/adapters")


def train_classifier(
    begin: Recipe | str,
    labels: Sequence[str],
    data: TrainingData,
    files: TrainingFiles,
    plan: TrainingPlan,
    cache: Path,
    console: Console,
) -> None:
    """Fine-tune the classifier of a recipe or a preset, and write its adapter and its report."""
    with ExitStack() as stack:
        if isinstance(begin, Recipe):
            start = start_from_recipe(begin, fetch_weights(begin.weights, cache, console))
        else:
            stack.enter_context(named(begin))
            checked = stack.enter_context(ready_for_keras(begin))
            with named_errors(begin):
                start = start_from_preset(checked, labels, begin)
        name = begin.spec.name if isinstance(begin, Recipe) else ModelOptions(begin).title
        output = files.output or ADAPTERS / name
        for line in _summary(data):
            console.print(line)
        progress = stack.enter_context(training_progress(console))
        stack.enter_context(naming_a_full_disk(output))
        record = train(
            start,
            data,
            plan,
            output,
            files.notice,
            progress,
            resume=files.resume,
            answers=files.answers,
        )
    figures = record["figures"]
    if test := figures.get("test"):
        console.print(
            f"Accuracy on {test['pairs']:,} test pairs, which chose nothing: {test['accuracy']:.4f}"
        )
    console.print(
        f"Adapter in {output}; accuracy on the held-out pairs {figures['accuracy']:.4f},"
        f" expected calibration error {figures['expected_calibration_error']:.4f};"
        f" the rest in {output / REPORT}"
    )


def train_an_embedder(
    begin: str,
    training: ScoredPairs,
    validation: ScoredPairs,
    plan: EmbedderPlan,
    output: Path,
    console: Console,
    *,
    resume: bool,
) -> None:
    """Fine-tune an embedder, and print the command of its export."""
    with ExitStack() as stack:
        stack.enter_context(named(begin))
        checked = stack.enter_context(ready_for_keras(begin))
        stack.enter_context(named_errors(begin))
        for line in _overlap("--validation", validation.pairs, "--train", training.pairs):
            console.print(line)
        console.print(f"Training on {_devices()}")
        progress = stack.enter_context(training_progress(console))
        stack.enter_context(naming_a_full_disk(output))
        figures = train_embedder(
            checked, training, validation, plan, output, progress, path=begin, resume=resume
        )
    before, *after = figures["spearman_by_epoch"]
    console.print(
        f"Preset in {output}; Spearman on the held-out pairs {before:.4f} before,"
        f" {max([before, *after]):.4f} after (epoch {figures['kept_epoch']} is kept)."
    )
    normalize = "--no-normalize" if plan.metric == "manhattan" else "--normalize"
    console.print(
        f"Export it: semserve-export export {output} --task embedding --pooling {plan.pooling}"
        f" {normalize}" + (" --metric manhattan" if plan.metric == "manhattan" else "")
    )


def _devices() -> str:
    """Return the names of the GPUs that TensorFlow finds, or the CPU."""
    names = [device.name for device in tf.config.list_logical_devices("GPU")]
    return ", ".join(names) or "the CPU: TensorFlow sees no GPU"


def _summary(data: TrainingData) -> Iterator[str]:
    """Print the numbers of dropped rows, and the devices of the training."""
    for files in (data.training, data.validation, *([data.test] if data.test else [])):
        for name, count in files.undecided.items():
            yield f"{name}: dropped {count:,} rows without a label (-1 or -)"
    held_out = {"--validation": data.validation, **({"--test": data.test} if data.test else {})}
    for flag, files in held_out.items():
        yield from _overlap(flag, files.pairs, "--train", data.training.pairs)
    if data.test:
        yield from _overlap("--test", data.test.pairs, "--validation", data.validation.pairs)
    yield f"Training on {_devices()}"


def _overlap(flag: str, pairs: Sequence[Any], other: str, others: Sequence[Any]) -> Iterator[str]:
    """Say how many held-out pairs are among others, which makes their figures too good."""
    known = {_texts(pair) for pair in others}
    if count := sum(_texts(pair) in known for pair in pairs):
        yield f"{flag}: {count:,} of {len(pairs):,} pairs are in {other} too: figures flatter"


def _texts(pair: Pair | tuple[str, str]) -> tuple[str, str]:
    return (pair.premise, pair.hypothesis) if isinstance(pair, Pair) else pair
