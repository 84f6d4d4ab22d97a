"""Train an embedder on pairs of texts, and save it as a KerasHub preset."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from rich.progress import Progress
from tokenizers import Tokenizer

from semserve_export.bundle.runner import METRICS
from semserve_export.data.scored_pairs import ScoredPairs
from semserve_export.embedder_training.embedder_plan import EmbedderPlan
from semserve_export.embedder_training.similarity_losses import LOSSES
from semserve_export.encoder_weights import Array
from semserve_export.errors import WeightsError
from semserve_export.hugging_face.directory import find_directory
from semserve_export.models.families import inputs_of
from semserve_export.models.pooling import require_pooling
from semserve_export.models.preset import Preset
from semserve_export.pipeline.custom_model import build_custom_tokenizer
from semserve_export.tokenizers.bert_wordpiece import Inputs, encode, pad
from semserve_export.training.learning_rate import WarmupThenLinear
from semserve_export.training.metrics import spearman

MEASURE_BATCH = 64
GRADIENT_NORM = 1.0


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


def train_embedder(
    source: str,
    training: ScoredPairs,
    validation: ScoredPairs,
    plan: EmbedderPlan,
    output: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Train, keep the epoch with the best validation, and save it with its tokenizer.

    Args:
        source: a preset's directory or handle, checked (`ready_for_keras`).
        training: training pairs; with scores, except for the objective ranking.
        validation: scored pairs, which choose the epoch: Spearman's correlation of the scores.
        plan: the hyperparameters.
        output: directory of the new preset.
        progress: where a task is added for the steps.

    Returns:
        `spearman_by_epoch`, the first from before the training; `kept_epoch`, 0 for none;
        `pairs_trained_on` and `pairs_measured`.

    Raises:
        WeightsError: the model's family cannot be trained, or the model lacks the pooling.
    """
    if find_directory(source):
        raise WeightsError("is a directory of transformers; train-embedder takes a KerasHub preset")
    keras.utils.set_random_seed(plan.seed)
    preset = Preset.read(source)
    require_pooling(preset.family.backbone, plan.pooling)
    original = preset.load_tokenizer()
    model = preset.load_embedder(preset.activation, plan.pooling, normalize=False)
    longest = min(plan.max_tokens, preset.max_sequence_length(model.backbone))
    tokenizer = build_custom_tokenizer(original, preset)
    encoder = TrainedEncoder(model, tokenizer, inputs_of(model), longest)
    figures = _fit(encoder, training, validation, plan, progress)
    model.backbone.save_to_preset(str(output))
    original.save_to_preset(str(output))
    return {
        **figures,
        "pairs_trained_on": len(training.pairs),
        "pairs_measured": len(validation.pairs),
    }


def _fit(
    encoder: TrainedEncoder,
    training: ScoredPairs,
    validation: ScoredPairs,
    plan: EmbedderPlan,
    progress: Progress,
) -> dict[str, Any]:
    """Train in place, and keep the weights of the best epoch."""
    steps = plan.epochs * -(-len(training.pairs) // plan.batch_size)
    warmup = max(1, round(plan.warmup_fraction * steps))
    rate = WarmupThenLinear(plan.learning_rate, warmup, steps)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=0.01, global_clipnorm=GRADIENT_NORM)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    step = _step_of(encoder.model, optimizer, plan)
    scores = np.array(training.scores or [0.0] * len(training.pairs), np.float32) / plan.score_max
    random = np.random.default_rng(plan.seed)
    correlations = [_correlation(encoder, validation, plan)]
    best, kept = 0, encoder.model.get_weights()
    task = progress.add_task(f"before: Spearman {correlations[0]:.4f}", total=steps)
    for epoch in range(1, plan.epochs + 1):
        order = random.permutation(len(training.pairs))
        for at in range(0, len(order), plan.batch_size):
            rows = order[at : at + plan.batch_size]
            sides = [encoder.inputs([training.pairs[row][side] for row in rows]) for side in (0, 1)]
            step(*sides, scores[rows])
            progress.advance(task)
        correlations.append(_correlation(encoder, validation, plan))
        if correlations[-1] > max(correlations[:-1]):
            best, kept = epoch, encoder.model.get_weights()
        progress.update(task, description=f"epoch {epoch}: Spearman {correlations[-1]:.4f}")
    encoder.model.set_weights(kept)
    return {"spearman_by_epoch": correlations, "kept_epoch": best}


def _step_of(model: Any, optimizer: Any, plan: EmbedderPlan) -> Any:
    """Return a function that runs one step on the inputs of both sides and the scores."""
    loss_of = LOSSES[plan.objective]
    trained = [variable.value for variable in model.trainable_variables]
    optimizer.build(model.trainable_variables)

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]  # TensorFlow has no types
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
