"""Train an embedder on pairs of texts, and save it as a KerasHub preset."""

import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras_hub.src.utils import preset_utils
from rich.progress import Progress
from tokenizers import Tokenizer

from semserve_export.bundle.runner import METRICS
from semserve_export.data.scored_pairs import ScoredPairs
from semserve_export.embedder_training.embedder_plan import EmbedderPlan
from semserve_export.embedder_training.similarity_losses import LOSSES
from semserve_export.encoder_weights import Array
from semserve_export.errors import WeightsError
from semserve_export.hugging_face.directory import find_directory
from semserve_export.models.delta_adapter import assign_values, tuned_values
from semserve_export.models.families import inputs_of
from semserve_export.models.pooling import require_pooling
from semserve_export.models.preset import Preset
from semserve_export.number_bounds import require_length
from semserve_export.pipeline.custom_model import build_custom_tokenizer
from semserve_export.pipeline.preset_models import base_digest
from semserve_export.tokenizers.bert_wordpiece import Inputs, encode, pad
from semserve_export.training.checkpoint import Checkpoint, TrainerState, is_due, state_of
from semserve_export.training.learning_rate import WarmupThenLinear
from semserve_export.training.metrics import spearman
from semserve_export.training.trainer import seed_everything

MEASURE_BATCH = 64
GRADIENT_NORM = 1.0
PRESET_FILES = (
    preset_utils.CONFIG_FILE,
    preset_utils.METADATA_FILE,
    preset_utils.MODEL_WEIGHTS_FILE,
    preset_utils.PREPROCESSOR_CONFIG_FILE,
    preset_utils.TASK_CONFIG_FILE,
    preset_utils.TASK_WEIGHTS_FILE,
    preset_utils.TOKENIZER_CONFIG_FILE,
)


@dataclass(frozen=True, slots=True)
class TrainedEncoder:
    """An embedder and the tokenizer of its inputs."""

    model: Any  # returns fp32 [texts, dimensions]
    tokenizer: Tokenizer
    names: Sequence[str]  # of its inputs
    max_tokens: int

    def inputs(self, texts: Sequence[str]) -> Inputs:
        """Tokenise and pad texts."""
        padded = pad(encode(self.tokenizer, texts, self.max_tokens))
        return {name: padded[name] for name in self.names}

    def embed(self, texts: Sequence[str]) -> Array:
        """Return fp32 [texts, dimensions]."""
        parts = [
            np.asarray(self.model(self.inputs(texts[at : at + MEASURE_BATCH]), training=False))
            for at in range(0, len(texts), MEASURE_BATCH)
        ]
        return np.concatenate(parts)


def train_embedder(  # noqa: PLR0913 - what to train, on what, how, and where to
    source: str,
    training: ScoredPairs,
    validation: ScoredPairs,
    plan: EmbedderPlan,
    output: Path,
    progress: Progress,
    *,
    path: str = "",
    resume: bool = False,
) -> dict[str, Any]:
    """Train, keep the epoch with the best validation, and save it with its tokenizer.

    Args:
        source: a preset's directory or handle, checked (`ready_for_keras`).
        training: training pairs; with scores, except for the objective ranking.
        validation: scored pairs, which choose the epoch: Spearman's correlation of the scores.
        plan: the hyperparameters.
        output: directory of the new preset; during the training it contains a checkpoint.
        progress: where a task is added for the steps.
        path: what the user named, where `source` is a checked copy of it.
        resume: continue at the checkpoint in `output`, where there is one.

    Returns:
        `spearman_by_epoch`, the first from before the training; `kept_epoch`, 0 for none;
        `pairs_trained_on` and `pairs_measured`.

    Raises:
        WeightsError: the model's family cannot be trained, or the model lacks the pooling.
        ExportError: the checkpoint is of another training, or the model takes fewer tokens than the
            plan.
    """
    if find_directory(source):
        raise WeightsError("is a directory of transformers; train-embedder takes a KerasHub preset")
    preset = Preset.read(source)
    require_pooling(preset.family.backbone, plan.pooling)
    facts = {
        "base_sha256": base_digest(preset, path or source),
        "plan": asdict(plan),
        "training_files": training.sha256,
        "validation_files": validation.sha256,
    }
    checkpoint = Checkpoint(output, facts)
    if resume:
        checkpoint.check()
    else:
        checkpoint.remove()
    seed_everything(plan.seed)
    original = preset.load_tokenizer()
    model = preset.load_embedder(preset.activation, plan.pooling, normalize=False)
    most = preset.max_sequence_length(model.backbone)
    require_length(plan, most)
    tokenizer = build_custom_tokenizer(original, preset)
    encoder = TrainedEncoder(model, tokenizer, inputs_of(model), min(plan.max_tokens, most))
    output.mkdir(parents=True, exist_ok=True)
    standing = _fit(encoder, training, validation, plan, checkpoint, progress, resume=resume)
    _remove_preset(output)
    model.backbone.save_to_preset(str(output))
    original.save_to_preset(str(output))
    checkpoint.remove()
    return {
        "spearman_by_epoch": standing.measures,
        "kept_epoch": standing.best_epoch,
        "pairs_trained_on": len(training.pairs),
        "pairs_measured": len(validation.pairs),
    }


def _remove_preset(directory: Path) -> None:
    """Remove an older preset, whose task or vocabulary would be read with the new weights."""
    for file in PRESET_FILES:
        directory.joinpath(file).unlink(missing_ok=True)
    shutil.rmtree(directory / preset_utils.ASSET_DIR, ignore_errors=True)


def _fit(
    encoder: TrainedEncoder,
    training: ScoredPairs,
    validation: ScoredPairs,
    plan: EmbedderPlan,
    checkpoint: Checkpoint,
    progress: Progress,
    *,
    resume: bool,
) -> TrainerState:
    """Train in place; the weights of the best epoch stay."""
    steps_an_epoch = math.ceil(len(training.pairs) / plan.batch_size)
    steps = plan.epochs * steps_an_epoch
    optimizer = _optimizer(encoder.model, plan, steps)
    step = _step_of(encoder, optimizer, plan)
    scores = np.array(training.scores or [0.0] * len(training.pairs), np.float32) / plan.score_max
    state, begun = state_of(encoder.model, optimizer), tuned_values(encoder.model)
    standing = checkpoint.load(state) if resume else None
    standing = standing or TrainerState(measures=[_correlation(encoder, validation, plan)])
    saved = began = time.monotonic() - standing.seconds
    text = f"epoch {len(standing.measures) - 1}: Spearman {standing.measures[-1]:.4f}"
    task = progress.add_task(text, total=steps, completed=standing.step)
    while standing.step < steps:
        epoch, done = divmod(standing.step, steps_an_epoch)
        # Each epoch has a generator of its own, so that a training can continue in the middle.
        order = np.random.default_rng([plan.seed, epoch]).permutation(len(training.pairs))
        for place in range(done, steps_an_epoch):
            rows = order[place * plan.batch_size :][: plan.batch_size]
            sides = [encoder.inputs([training.pairs[row][side] for row in rows]) for side in (0, 1)]
            step(*sides, scores[rows])
            standing.step += 1
            progress.advance(task)
            now = time.monotonic()
            if place + 1 < steps_an_epoch and is_due(place + 1, now - saved):
                checkpoint.save(state, standing, round(now - began))
                saved = now
        standing.measures.append(_correlation(encoder, validation, plan))
        if standing.measures[-1] > max(standing.measures[:-1]):
            standing.best_epoch, standing.values = epoch + 1, tuned_values(encoder.model)
        checkpoint.save(state, standing, round(time.monotonic() - began))
        progress.update(
            task, description=f"epoch {epoch + 1}: Spearman {standing.measures[-1]:.4f}"
        )
    assign_values(encoder.model, standing.values or begun)
    return standing


def _optimizer(model: Any, plan: EmbedderPlan, steps: int) -> Any:
    warmup = max(1, round(plan.warmup_fraction * steps))
    rate = WarmupThenLinear(plan.learning_rate, warmup, steps)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=0.01, global_clipnorm=GRADIENT_NORM)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    optimizer.build(model.trainable_variables)
    return optimizer


def _step_of(encoder: TrainedEncoder, optimizer: Any, plan: EmbedderPlan) -> Any:
    """Return a function that makes one step on the inputs of both sides and the scores.

    It has one trace for every shape: the last bits of a step depend on the trace, and a training
    that continues would have others.
    """
    model, loss_of = encoder.model, LOSSES[plan.objective]
    trained = [variable.value for variable in model.trainable_variables]
    texts = {name: tf.TensorSpec((None, None), tf.int32) for name in encoder.names}

    @tf.function(input_signature=(texts, texts, tf.TensorSpec((None,), tf.float32)))  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def step(left: Inputs, right: Inputs, scores: Array) -> Any:
        with tf.GradientTape() as tape:
            loss = loss_of(model(left, training=True), model(right, training=True), scores)
        gradients = zip(tape.gradient(loss, trained), model.trainable_variables, strict=True)
        # A pooler that the pooling does not use has no gradient.
        optimizer.apply_gradients([pair for pair in gradients if pair[0] is not None])
        return loss

    return step


def _correlation(encoder: TrainedEncoder, pairs: ScoredPairs, plan: EmbedderPlan) -> float:
    vectors = encoder.embed(pairs.texts())
    return spearman(METRICS[plan.metric](vectors[::2], vectors[1::2]), np.array(pairs.scores))
