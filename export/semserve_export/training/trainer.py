"""Fine-tune a classifier of pairs, step by step, so that it can go on after it was cut off."""

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
    Standing,
    State,
    is_due,
    state_of,
)
from semserve_export.training.learning_rate import WarmupThenLinear
from semserve_export.training.metrics_log import ResultLog
from semserve_export.training.plan import TrainingPlan

PROGRESS_PAIRS = 2000  # of the validation pairs, measured after each epoch; all of them at the end
MEASURE_BATCH_SIZE = 128

Logits = npt.NDArray[np.float32]
Targets = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Course:
    """What a training came to: the values to keep, and how it went."""

    values: Arrays
    accuracies: Sequence[float]  # after each epoch, on the first `PROGRESS_PAIRS`
    kept_epoch: int  # counted from 1
    seconds: int


class FineTuning:
    """A training under way, from its checkpoint or from the start.

    Args:
        model: a classifier, made after `seed_everything`; it is trained in place.
        plan: epochs, rates and the seed.
        training: pairs to learn from.
        targets: what to answer to them, fp32 [pairs, classes], each row a distribution.
        validation: held-out pairs.
        log: where the figures go as they come.
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
        self._standing = Standing()
        self._saved_at = 0  # seconds of training at the last checkpoint
        self._compile()

    def run(self, checkpoint: Checkpoint, progress: Progress, *, resume: bool) -> Course:
        """Train to the end, or until patience is spent; leave a checkpoint every so many steps."""
        if resume and (found := checkpoint.load(self._state)):
            self._standing = found
        standing, plan = self._standing, self._plan
        self._log.start(standing.step, standing.seconds)
        self._saved_at = standing.seconds
        total = plan.epochs * self._steps_an_epoch
        task = progress.add_task("training", total=total, completed=standing.step)
        while standing.step < total and not self._patience_is_spent():
            for figures in self._epoch(checkpoint, lambda: progress.advance(task)):
                epoch, loss, accuracy = (figures[name] for name in ("epoch", "loss", "accuracy"))
                text = f"epoch {epoch}, loss {loss:.3f}, accuracy {accuracy:.3f}"
                if standing.measures:
                    text += f", validation {standing.measures[-1]:.3f}"
                progress.update(task, description=text)
            self._end_epoch()
            checkpoint.save(self._state, standing, self._log.seconds())
        progress.update(task, completed=total, description="measuring")
        # No epoch at all is a way to average adapters, and to calibrate one.
        values = standing.values or tuned_values(self._model)
        return Course(values, tuple(standing.measures), standing.best_epoch, self._log.seconds())

    @property
    def _state(self) -> State:
        return state_of(self._model, self._model.optimizer)

    def _compile(self) -> None:
        plan, steps = self._plan, self._plan.epochs * self._steps_an_epoch
        warmup = max(1, round(plan.warmup_fraction * steps))
        optimizer = keras.optimizers.AdamW(
            WarmupThenLinear(plan.learning_rate, warmup, steps),
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
            jit_compile=False,  # measured: no faster a step on CPU, and seconds for each new shape
        )
        optimizer.build(self._model.trainable_variables)
        if steps:
            self._trace()

    def _trace(self) -> None:
        """Have TensorFlow trace the step now, once for one shape and once for any.

        Left to the first batches, a training that goes on would have its steps traced in another
        order, and the last bits of a step depend on the trace that computes it.
        """
        state = {name: variable.numpy() for name, variable in self._state.items()}
        for size in (2, 3):
            padded = pad([Encoding([0], [0])] * size, size)
            inputs = {name: padded[name] for name in self._training.names}
            self._model.train_on_batch(inputs, self._targets[:1].repeat(size, axis=0))
        for name, variable in self._state.items():
            variable.assign(state[name])

    def _epoch(self, checkpoint: Checkpoint, advance: Any) -> Any:
        """Train on what is left of the epoch; give the means of every `STEPS_BETWEEN_REPORTS`."""
        standing, plan = self._standing, self._plan
        epoch, done = divmod(standing.step, self._steps_an_epoch)
        # Each epoch has a generator of its own, so that it can be entered in the middle.
        random = np.random.default_rng([plan.seed, epoch])
        batches = self._training.shuffled(plan.batch_size, random)
        seen: list[tuple[float, float]] = []
        for place, rows in enumerate(batches[done:], done + 1):
            figures = self._model.train_on_batch(
                self._training.inputs(rows), self._targets[rows], return_dict=True
            )
            seen.append((float(figures["loss"]), float(figures["accuracy"])))
            standing.step += 1
            advance()
            if place % STEPS_BETWEEN_REPORTS == 0 or place == len(batches):
                means = [round(float(mean), 4) for mean in np.mean(seen, axis=0)]
                report = {"step": standing.step, "loss": means[0], "accuracy": means[1]}
                self._log.write(epoch=epoch + 1, **report)
                yield {"epoch": epoch + 1, **report}
                seen.clear()
            if place < len(batches) and is_due(place, self._log.seconds() - self._saved_at):
                self._saved_at = self._log.seconds()
                checkpoint.save(self._state, standing, self._saved_at)

    def _end_epoch(self) -> None:
        """Measure the epoch, and keep its values where they are to be kept."""
        standing, trained = self._standing, self._model.trainable_variables
        # As they are: of `tuned_values`, a kernel would come back with LoRA's update in it.
        last = [variable.numpy() for variable in trained]
        self._model.optimizer.finalize_variable_values(trained)
        accuracy = measure_accuracy(self._model, self._validation)
        if not self._plan.patience or accuracy > max(standing.measures, default=-1.0):
            standing.values = tuned_values(self._model)
            standing.best_epoch = len(standing.measures) + 1
        for variable, value in zip(trained, last, strict=True):
            variable.assign(value)
        standing.measures.append(accuracy)
        epoch = len(standing.measures)
        self._log.write(epoch=epoch, step=standing.step, validation_accuracy=accuracy)

    def _patience_is_spent(self) -> bool:
        standing, patience = self._standing, self._plan.patience
        return bool(patience) and len(standing.measures) - standing.best_epoch >= (patience or 0)


def seed_everything(seed: int) -> None:
    """Make what follows repeatable; to be called before the model is made and its head drawn."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def logits_of(model: keras.Model, pairs: EncodedPairs) -> Logits:
    """Return the model's logits, fp32 [pairs, classes]."""
    logits = np.zeros((len(pairs), model.output_shape[-1]), np.float32)
    for rows in pairs.by_length(MEASURE_BATCH_SIZE):
        logits[rows] = model.predict_on_batch(pairs.inputs(rows))
    return logits


def measure_accuracy(model: keras.Model, pairs: EncodedPairs) -> float:
    """Return the share of pairs whose largest logit is the label's."""
    return float(np.mean(logits_of(model, pairs).argmax(axis=1) == pairs.labels))
