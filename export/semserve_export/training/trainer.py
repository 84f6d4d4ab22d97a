"""Fine-tunes a classifier of pairs step by step, so that it can resume after an interruption."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from rich.progress import Progress

from semserve_export.data.batching import EncodedPairs
from semserve_export.models.delta_adapter import Arrays, tuned_values
from semserve_export.tokenizers.bert_wordpiece import Encoding, pad
from semserve_export.training.checkpoint import (
    STEPS_BETWEEN_REPORTS,
    Checkpoint,
    State,
    TrainerState,
    is_due,
    state_of,
)
from semserve_export.training.learning_rate import WarmupThenLinear
from semserve_export.training.metrics_log import ResultLog
from semserve_export.training.plan import TrainingPlan

PROGRESS_PAIRS = 2000  # validation pairs that are measured after each epoch; all of them at the end
MEASURE_BATCH_SIZE = 128

Logits = npt.NDArray[np.float32]
Targets = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """The result of a training: the values to keep, and its progress."""

    values: Arrays
    accuracies: Sequence[float]  # after each epoch, on the first `PROGRESS_PAIRS`
    kept_epoch: int  # counted from 1
    seconds: int


class Trainer:
    """A running training, from its checkpoint or from the start.

    Args:
        model: a classifier, built after `seed_everything`; it is trained in place.
        plan: epochs, rates and the seed.
        training: training pairs.
        targets: targets of the pairs, fp32 [pairs, classes]; each row is a distribution.
        validation: held-out pairs.
        log: the log of the figures.
    """

    def __init__(
        self,
        model: keras.Model,
        plan: TrainingPlan,
        training: EncodedPairs,
        targets: Targets,
        validation: EncodedPairs,
        log: ResultLog,
    ) -> None:
        self._model, self._plan, self._log = model, plan, log
        self._training, self._targets = training, targets
        self._validation = validation.first(PROGRESS_PAIRS)
        self._steps_an_epoch = math.ceil(len(training) / plan.batch_size)
        self._state = TrainerState()
        self._saved_at = 0  # seconds of training at the last checkpoint
        self._compile()

    def run(self, checkpoint: Checkpoint, progress: Progress, *, resume: bool) -> TrainingResult:
        """Train to the end or until early stopping, with regular checkpoints."""
        if resume and (found := checkpoint.load(self._variables)):
            self._state = found
        state, plan = self._state, self._plan
        self._log.start(state.step, state.seconds)
        self._saved_at = state.seconds
        total = plan.epochs * self._steps_an_epoch
        task = progress.add_task("training", total=total, completed=state.step)
        while state.step < total and not self._patience_is_spent():
            for figures in self._epoch(checkpoint, lambda: progress.advance(task)):
                epoch, loss, accuracy = (figures[name] for name in ("epoch", "loss", "accuracy"))
                text = f"epoch {epoch}, loss {loss:.3f}, accuracy {accuracy:.3f}"
                if state.measures:
                    text += f", validation {state.measures[-1]:.3f}"
                progress.update(task, description=text)
            self._end_epoch()
            checkpoint.save(self._variables, state, self._log.seconds())
        progress.update(task, completed=total, description="measuring")
        # With no epochs, the command averages adapters and calibrates the result.
        values = state.values or tuned_values(self._model)
        return TrainingResult(values, tuple(state.measures), state.best_epoch, self._log.seconds())

    @property
    def _variables(self) -> State:
        return state_of(self._model, self._model.optimizer)

    def _compile(self) -> None:
        plan, steps = self._plan, self._plan.epochs * self._steps_an_epoch
        warmup = max(1, round(plan.warmup_fraction * steps))
        optimizer = keras.optimizers.AdamW(
            WarmupThenLinear(plan.transformer_rate, warmup, steps),
            weight_decay=plan.weight_decay,
            global_clipnorm=plan.gradient_norm_max,
            use_ema=plan.average is not None,
            ema_momentum=plan.average or 0,
        )
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        self._model.compile(
            optimizer=optimizer,
            loss=keras.losses.CategoricalCrossentropy(from_logits=True),
            metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
            jit_compile=False,  # measured: no faster on a CPU, and seconds for each new shape
        )
        optimizer.build(self._model.trainable_variables)
        if steps:
            self._trace()

    def _trace(self) -> None:
        """Trace the step now, once for one shape and once for any shape.

        If the first batches traced it, a resumed training would trace in another order, and the
        last bits of a step depend on the trace.
        """
        state = {name: variable.numpy() for name, variable in self._variables.items()}
        for size in (2, 3):
            padded = pad([Encoding([0], [0])] * size, size)
            inputs = {name: padded[name] for name in self._training.names}
            self._model.train_on_batch(inputs, self._targets[:1].repeat(size, axis=0))
        for name, variable in self._variables.items():
            variable.assign(state[name])

    def _epoch(self, checkpoint: Checkpoint, advance: Any) -> Any:
        """Train on the rest of the epoch; yield means of `STEPS_BETWEEN_REPORTS` steps."""
        state, plan = self._state, self._plan
        epoch, done = divmod(state.step, self._steps_an_epoch)
        # Each epoch has a separate random generator, so that training can resume inside an epoch.
        random = np.random.default_rng([plan.seed, epoch])
        batches = self._training.shuffled(plan.batch_size, random)
        seen: list[tuple[float, float]] = []
        for place, rows in enumerate(batches[done:], done + 1):
            figures = self._model.train_on_batch(
                self._training.inputs(rows), self._targets[rows], return_dict=True
            )
            seen.append((float(figures["loss"]), float(figures["accuracy"])))
            state.step += 1
            advance()
            if place % STEPS_BETWEEN_REPORTS == 0 or place == len(batches):
                means = [round(float(mean), 4) for mean in np.mean(seen, axis=0)]
                report = {"step": state.step, "loss": means[0], "accuracy": means[1]}
                self._log.write(epoch=epoch + 1, **report)
                yield {"epoch": epoch + 1, **report}
                seen.clear()
            if place < len(batches) and is_due(place, self._log.seconds() - self._saved_at):
                self._saved_at = self._log.seconds()
                checkpoint.save(self._variables, state, self._saved_at)

    def _end_epoch(self) -> None:
        """Measure the epoch, and keep its values if it is the best."""
        state, trained = self._state, self._model.trainable_variables
        # Unchanged values: `tuned_values` would return kernels with merged LoRA updates.
        last = [variable.numpy() for variable in trained]
        self._model.optimizer.finalize_variable_values(trained)
        accuracy = measure_accuracy(self._model, self._validation)
        if not self._plan.patience or accuracy > max(state.measures, default=-1.0):
            state.values = tuned_values(self._model)
            state.best_epoch = len(state.measures) + 1
        for variable, value in zip(trained, last, strict=True):
            variable.assign(value)
        state.measures.append(accuracy)
        epoch = len(state.measures)
        self._log.write(epoch=epoch, step=state.step, validation_accuracy=accuracy)

    def _patience_is_spent(self) -> bool:
        state, patience = self._state, self._plan.patience
        return bool(patience) and len(state.measures) - state.best_epoch >= (patience or 0)


def seed_everything(seed: int) -> None:
    """Seed all generators. Call it before the model and its head are created."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def logits_of(model: keras.Model, pairs: EncodedPairs) -> Logits:
    """Return the model's logits, fp32 [pairs, classes]."""
    logits = np.zeros((len(pairs), model.output_shape[-1]), np.float32)
    for rows in pairs.by_length(MEASURE_BATCH_SIZE):
        logits[rows] = model.predict_on_batch(pairs.inputs(rows))
    return logits


def measure_accuracy(model: keras.Model, pairs: EncodedPairs) -> float:
    """Return the fraction of pairs whose largest logit is that of the label."""
    return float(np.mean(logits_of(model, pairs).argmax(axis=1) == pairs.labels))
