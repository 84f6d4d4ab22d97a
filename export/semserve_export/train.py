"""Fine-tune a classifier of pairs, and keep what it learnt as an adapter."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from rich.progress import Progress

from semserve_export.adapter import (
    apply_adapter,
    assign_values,
    save_adapter,
    trainable_values,
)
from semserve_export.pair_batches import EncodedPairs, Indices
from semserve_export.training_plan import TrainingPlan

RESULTS = "results.jsonl"
STEPS_BETWEEN_REPORTS = 50
PROGRESS_PAIRS = 2000  # of the validation pairs, measured after each epoch; all of them at the end
MEASURE_BATCH_SIZE = 128


def fine_tune(
    model: keras.Model,
    plan: TrainingPlan,
    training: EncodedPairs,
    validation: EncodedPairs,
    output: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Train the model in place, leave its adapter on disk, and return the measured figures.

    Args:
        model: a classifier on base weights, frozen where nothing shall change, and made after
            `seed_everything`. It ends as the base plus the adapter, read back from disk: that is
            what `accuracy` was measured on.
        plan: epochs, rates and the seed.
        training: pairs to learn from.
        validation: held-out pairs.
        output: gets adapter.safetensors after each epoch, and results.jsonl as they come.
        progress: where a task is added for the steps.
    """
    base = trainable_values(model)
    output.mkdir(parents=True, exist_ok=True)
    log = ResultLog(output / RESULTS)
    steps = plan.epochs * -(-len(training) // plan.batch_size)
    _compile(model, plan, steps)
    random = np.random.default_rng(plan.seed)
    task = progress.add_task("training", total=steps)
    accuracies: list[float] = []
    for epoch in range(1, plan.epochs + 1):
        batches = training.shuffled(plan.batch_size, random)
        for figures in _train_epoch(model, training, batches, lambda: progress.advance(task)):
            log.write(epoch=epoch, **figures)
            text = f"epoch {epoch}, loss {figures['loss']:.3f}, accuracy {figures['accuracy']:.3f}"
            progress.update(task, description=text)
        save_adapter(output, trainable_values(model), base)
        accuracies.append(measure_accuracy(model, validation.first(PROGRESS_PAIRS)))
        log.write(epoch=epoch, validation_accuracy=accuracies[-1])
    progress.update(task, description="measuring")
    unrounded = measure_accuracy(model, validation)
    assign_values(model, base)
    apply_adapter(output, model)
    result = {
        "accuracy": measure_accuracy(model, validation),
        "accuracy_before_rounding": unrounded,
        "accuracy_by_epoch": accuracies,
        "pairs_trained_on": len(training),
        "pairs_measured": len(validation),
        "pairs_measured_by_epoch": min(PROGRESS_PAIRS, len(validation)),
        "training_seconds": log.seconds(),
    }
    log.write(**result)
    return result


def seed_everything(seed: int) -> None:
    """Make what follows repeatable; to be called before the model is made and its head drawn."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def measure_accuracy(model: keras.Model, pairs: EncodedPairs) -> float:
    """Return the share of pairs whose largest logit is the label's."""
    right = 0
    for rows in pairs.by_length(MEASURE_BATCH_SIZE):
        logits = model.predict_on_batch(pairs.inputs(rows))
        right += int((np.argmax(logits, axis=1) == pairs.labels[rows]).sum())
    return right / len(pairs)


class WarmupThenLinear(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """Rise from 0 to `peak` over `warmup` steps, then fall to 0 at `steps`."""

    def __init__(self, peak: float, warmup: int, steps: int) -> None:
        self.peak, self.warmup, self.steps = peak, warmup, steps

    def __call__(self, step: Any) -> Any:
        """Return the rate for a step, counted from 0."""
        step = keras.ops.cast(step, "float32")
        rising = (step + 1) / self.warmup
        falling = (self.steps - step) / (self.steps - self.warmup)
        return self.peak * keras.ops.clip(keras.ops.minimum(rising, falling), 0, 1)

    def get_config(self) -> dict[str, Any]:
        """Return the three numbers that make another one."""
        return {"peak": self.peak, "warmup": self.warmup, "steps": self.steps}


class ResultLog:
    """Figures as they come: one JSON object a line, with the seconds since the start."""

    def __init__(self, path: Path) -> None:
        self._path, self._started = path, time.monotonic()
        path.write_text("", encoding="utf-8")

    def seconds(self) -> int:
        """Return the whole seconds since the start."""
        return round(time.monotonic() - self._started)

    def write(self, **figures: Any) -> None:
        """Append one line."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"seconds": self.seconds(), **figures}) + "\n")


def _compile(model: keras.Model, plan: TrainingPlan, steps: int) -> None:
    warmup = max(1, round(plan.warmup_fraction * steps))
    optimizer = keras.optimizers.AdamW(
        WarmupThenLinear(plan.learning_rate, warmup, steps),
        weight_decay=plan.weight_decay,
        global_clipnorm=plan.gradient_norm_max,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=plan.label_smoothing
        ),
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        jit_compile=False,  # measured: no faster a step on CPU, and seconds for each new shape
    )


def _train_epoch(
    model: keras.Model, pairs: EncodedPairs, batches: list[Indices], advance: Callable[[], None]
) -> Iterator[dict[str, float]]:
    """Train on the batches; give the mean loss and accuracy of every `STEPS_BETWEEN_REPORTS`."""
    one_hot = np.eye(model.output_shape[-1], dtype=np.float32)
    seen: list[tuple[float, float]] = []
    for step, rows in enumerate(batches, 1):
        figures = model.train_on_batch(
            pairs.inputs(rows), one_hot[pairs.labels[rows]], return_dict=True
        )
        seen.append((float(figures["loss"]), float(figures["accuracy"])))
        advance()
        if step % STEPS_BETWEEN_REPORTS == 0 or step == len(batches):
            loss, accuracy = np.mean(seen, axis=0).tolist()
            yield {"step": step, "loss": round(loss, 4), "accuracy": round(accuracy, 4)}
            seen.clear()
