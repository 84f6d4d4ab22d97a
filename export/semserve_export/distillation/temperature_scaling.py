"""Measures the calibration of a classifier's scores, and fits a temperature to improve it.

Guo et al. 2017, "On Calibration of Modern Neural Networks": dividing the logits by one number,
fitted on held-out answers, changes no label. The expected calibration error is the mean difference
between confidence and accuracy over bins of equal width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from semserve_export.data.pairs import LabelledPair

BINS = 15
SHARPNESS = (0.05, 20.0)  # limits of 1 / temperature, also if all answers are right
HALVINGS = 60  # halvings of that range: far below the precision of fp32

Logits = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Half = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Bin:
    """The answers whose largest score is in one range."""

    count: int
    confidence: float  # the mean largest score
    accuracy: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """The effect of the temperature on held-out answers.

    `after` is cross-fitted: each half of the pairs is measured at the temperature that was fitted
    on the other half. `temperature` is fitted on both halves, and is the one to use.
    """

    temperature: float
    before: Sequence[Bin]
    after: Sequence[Bin]

    @property
    def error_before(self) -> float:
        """The expected calibration error of the unchanged logits."""
        return expected_calibration_error(self.before)

    @property
    def error_after(self) -> float:
        """The expected calibration error at the temperature of the other half."""
        return expected_calibration_error(self.after)


def calibrate(logits: Logits, labels: Labels, half: Half) -> Calibration:
    """Fit the temperature, and measure it on answers that it was not fitted on.

    Args:
        logits: fp32 [pairs, classes].
        labels: int64 [pairs].
        half: bool [pairs], true for the first half.
    """
    cross_fitted = np.empty_like(logits)
    for fitted_on in (half, ~half):
        temperature = fit_temperature(logits[fitted_on], labels[fitted_on])
        cross_fitted[~fitted_on] = logits[~fitted_on] / temperature
    return Calibration(
        fit_temperature(logits, labels), bins_of(logits, labels), bins_of(cross_fitted, labels)
    )


def fit_temperature(logits: Logits, labels: Labels) -> float:
    """Return the temperature with the least cross-entropy.

    The cross-entropy is convex in 1 / temperature. Its derivative is the mean of the expected logit
    minus the label's logit, and its zero is found by bisection.
    """
    label = np.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
    low, high = SHARPNESS
    for _ in range(HALVINGS):
        middle = np.sqrt(low * high)
        expected = (softmax(logits * middle) * logits).sum(axis=1)
        low, high = (middle, high) if np.mean(expected - label) < 0 else (low, middle)
    return float(1 / np.sqrt(low * high))


def bins_of(logits: Logits, labels: Labels) -> tuple[Bin, ...]:
    """Sort answers by their largest score into `BINS` of equal width, without empty ones."""
    scores = softmax(logits)
    confidence, right = scores.max(axis=1), scores.argmax(axis=1) == labels
    places = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return tuple(
        Bin(int(in_bin.sum()), float(confidence[in_bin].mean()), float(right[in_bin].mean()))
        for in_bin in (places == place for place in np.unique(places))
    )


def expected_calibration_error(bins: Sequence[Bin]) -> float:
    """Return the mean difference of confidence and accuracy, weighted by answers."""
    total = sum(one.count for one in bins)
    return sum(one.count * abs(one.confidence - one.accuracy) for one in bins) / total


def first_half(pairs: Sequence[LabelledPair]) -> Half:
    """Choose every second premise with all its pairs, so that no premise is in both halves."""
    places: dict[str, int] = {}
    for pair in pairs:
        places.setdefault(pair.premise, len(places))
    return np.array([places[pair.premise] % 2 == 0 for pair in pairs], bool)


def softmax(logits: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return the scores, fp64 [pairs, classes], each row of which sums to 1."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    scores: npt.NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return scores
