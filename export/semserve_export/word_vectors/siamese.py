"""Siamese training: one encoder reads both sides of a pair, and the score of the two is compared.

Every left text of a batch is scored against every right one. Where a teacher's vectors are known,
all these scores have a target; where only people's judgements are, those of the pairs themselves.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from semserve_export.encoder_weights import Array
from semserve_export.model_spec import INPUTS_WITHOUT_SEGMENTS
from semserve_export.tokenizers.bert_wordpiece import Encoding, Inputs, pad

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SiamesePairs:
    """Encoded pairs with what is known of how similar they are; one entry a pair everywhere."""

    left: list[Encoding]
    right: list[Encoding]
    scores: Array  # fp32 [pairs], 0 to 1; NaN where nobody judged
    teacher_left: Array  # fp32 [pairs, width] of length one; zero where no teacher was asked
    teacher_right: Array

    def __len__(self) -> int:
        return len(self.left)

    def batch(self, rows: Rows) -> tuple[list[Inputs], Array]:
        """Return the padded inputs of both sides, and the targets: fp32 [rows, rows], or NaN."""
        sides = [_inputs([side[row] for row in rows]) for side in (self.left, self.right)]
        left, right = self.teacher_left[rows], self.teacher_right[rows]
        known = np.outer(left.any(axis=1), right.any(axis=1))
        targets = np.where(known, np.maximum(left @ right.T, 0), np.float32(np.nan))
        scores = self.scores[rows]
        np.fill_diagonal(targets, np.where(np.isnan(scores), targets.diagonal(), scores))
        return sides, targets

    def shuffled(self, size: int, random: np.random.Generator) -> list[Rows]:
        """Deal all pairs into batches of like length, which come in no order."""
        lengths = np.array(
            [max(map(len, pair)) for pair in zip(self.left, self.right, strict=True)]
        )
        order = random.permutation(len(self))
        windows = np.array_split(order, -(-len(order) // (size * WINDOW)))
        order = np.concatenate([w[np.argsort(lengths[w], kind="stable")] for w in windows])
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        random.shuffle(batches)
        return batches


WINDOW = 50  # batches that are sorted by length together


class Siamese(keras.Model):
    """One encoder over two batches of texts: fp32 [left, right] scores come out."""

    def __init__(self, encoder: Any, metric: str) -> None:
        super().__init__()
        self.encoder, self.score = encoder, SCORES[metric]

    def call(self, sides: list[Any], training: bool = False) -> Any:  # noqa: FBT001, FBT002 - Keras calls it so
        """Score every left text against every right one."""
        left, right = (self.encoder(side, training=training) for side in sides)
        return self.score(left, right)


def pair_loss(targets: Any, scores: Any) -> Any:
    """Add the mean squared error of the pairs themselves to that of all; NaN is no target."""
    known = ops.cast(ops.logical_not(ops.isnan(targets)), "float32")
    errors = known * ops.square(ops.where(known > 0, targets, 0.0) - scores)

    def mean(values: Any, weights: Any) -> Any:
        return ops.sum(values) / ops.maximum(ops.sum(weights), 1.0)

    return mean(ops.diagonal(errors), ops.diagonal(known)) + mean(errors, known)


def _manhattan(left: Any, right: Any) -> Any:
    distances = ops.abs(ops.expand_dims(left, 1) - ops.expand_dims(right, 0))
    return ops.exp(-ops.sum(distances, axis=2))


SCORES: dict[str, Callable[[Any, Any], Any]] = {
    "cosine": lambda left, right: ops.matmul(left, ops.transpose(right)),
    "manhattan": _manhattan,
}


def _inputs(encodings: list[Encoding]) -> Inputs:
    padded = pad(encodings)
    return {name: padded[name] for name in INPUTS_WITHOUT_SEGMENTS}
