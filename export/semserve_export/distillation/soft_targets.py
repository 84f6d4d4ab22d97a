"""What a training asks for: the labels, smoothed, and what teachers would have answered.

With cross-entropy as the loss, learning from both is learning from their weighted mean: the
distillation of Hinton et al. 2015, "Distilling the Knowledge in a Neural Network", without heat.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from semserve_export.data.batching import UNLABELLED
from semserve_export.data.pairs import LabelledPair
from semserve_export.distillation.temperature_scaling import softmax

Targets = npt.NDArray[np.float32]


def targets_of(
    labels: npt.NDArray[np.int64],
    classes: int,
    smoothing: float,
    teachers: Sequence[npt.NDArray[np.float32]] = (),
    teacher_weight: float = 0,
) -> Targets:
    """Return what to answer, fp32 [pairs, classes], each row a distribution.

    Args:
        labels: int64 [pairs]; where one is `UNLABELLED`, the answer is the teachers' alone.
        classes: how many there are.
        smoothing: the share of a label that is spread over all classes.
        teachers: the logits of each, fp32 [pairs, classes]; their mean is what they answer.
        teacher_weight: the share of the target that is theirs.
    """
    targets = np.eye(classes)[labels] * (1 - smoothing) + smoothing / classes
    if teachers:
        answers = softmax(np.mean(teachers, axis=0))
        weight = np.where(labels == UNLABELLED, 1, teacher_weight)[:, None]
        targets = weight * answers + (1 - weight) * targets
    return targets.astype(np.float32)


def with_swapped(
    pairs: Sequence[LabelledPair], symmetric: Sequence[int]
) -> tuple[LabelledPair, ...]:
    """Return the pairs, and after them once more, swapped, those whose label is symmetric."""
    swapped = (
        LabelledPair(pair.hypothesis, pair.premise, pair.label)
        for pair in pairs
        if pair.label in symmetric
    )
    return (*pairs, *swapped)
