"""Training targets: smoothed labels, mixed with the scores of teachers.

With cross-entropy as the loss, training on both equals training on their weighted mean: the
distillation of Hinton et al. 2015, "Distilling the Knowledge in a Neural Network", with temperature
1.
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
    """Return the targets, fp32 [pairs, classes]; each row is a distribution.

    Args:
        labels: int64 [pairs]; the target of an `UNLABELLED` pair comes only from the teachers.
        classes: number of classes.
        smoothing: fraction of a label's probability that is spread over all classes.
        teachers: logits of each teacher, fp32 [pairs, classes]; the mean of their scores is used.
        teacher_weight: weight of the teachers' scores in the target.
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
    """Return the pairs, followed by swapped copies of the pairs with a symmetric label."""
    swapped = (
        LabelledPair(pair.hypothesis, pair.premise, pair.label)
        for pair in pairs
        if pair.label in symmetric
    )
    return (*pairs, *swapped)
