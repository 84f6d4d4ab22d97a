"""Which comparison two vectors meet in: a head is recognised by what it computes.

A head may be a `Dot` layer, a `Lambda`, `keras.ops` or a layer of the user's own. It is run on
random vectors, and its values are held against each comparison that the server has.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from semserve_export.model_spec import Metric

Rows = npt.NDArray[np.float32]
Wide = npt.NDArray[np.float64]
TOLERANCE = 1e-5
"""Most that a head may differ, as a share of 1 + |value|."""
SEED, PAIRS = 11, 32
SCALES = (1.0, 0.1, 0.01)
"""Of the random vectors: exp(-L1) of large ones is zero whatever the exponent is."""
LEAST_SPREAD = 1e-3
"""A head that gives nearly one value for all vectors would pass for any comparison near it."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a model compares two vectors, in the server's words."""

    metric: Metric
    sign: int = 1  # -1 where the model gives the distance, of which the server gives the negative

    def __call__(self, left: Rows, right: Rows) -> Wide:
        """Return what the model gives for each pair of rows: float64 [n]."""
        return self.sign * METRICS[self.metric](left.astype(np.float64), right.astype(np.float64))


def _cosine(left: Wide, right: Wide) -> Wide:
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return np.asarray(np.sum(left * right, axis=1) / np.maximum(lengths, 1e-12))


METRICS: dict[Metric, Callable[[Wide, Wide], Wide]] = {
    "cosine": _cosine,
    "dot": lambda left, right: np.sum(left * right, axis=1),
    "euclidean": lambda left, right: -np.linalg.norm(left - right, axis=1),
    "manhattan": lambda left, right: np.exp(-np.abs(left - right).sum(axis=1)),
}
"""As the server computes them (`SimilarityService`), in float64; higher is more similar."""
CANDIDATES = (*(Comparison(metric) for metric in METRICS), Comparison("euclidean", -1))


def recognised(head: Callable[[Rows, Rows], Any], width: int) -> Comparison | None:
    """Tell which comparison a head computes, or None where the server has none that is equal.

    Args:
        head: from two fp32 [n, width] to fp32 [n] or [n, 1].
        width: of the vectors.
    """
    random = np.random.default_rng(SEED)
    draws = []
    for scale in SCALES:
        left, right = (random.normal(0, scale, (PAIRS, width)).astype(np.float32) for _ in range(2))
        draws.append((left, right, np.asarray(head(left, right), np.float64).reshape(-1)))
    if any(len(values) != PAIRS for _, _, values in draws):
        return None
    for one in CANDIDATES:
        if all(difference(one(left, right), values) <= TOLERANCE for left, right, values in draws):
            return one
    return None


def agreeing(left: Rows, right: Rows, values: Wide) -> list[tuple[Comparison, float]]:
    """Return each comparison with its largest difference from a model's values, the best first.

    Args:
        left: vectors of texts, fp32 [n, width].
        right: vectors of the texts beside them.
        values: what the model gives for each pair, [n].
    """
    found = [(one, difference(one(left, right), values)) for one in CANDIDATES]
    return sorted(found, key=lambda pair: pair[1])


def difference(given: Wide, expected: Wide) -> float:
    """Return the largest difference as a share of 1 + |expected|; NaN where a value is none."""
    return float(np.max(np.abs(given - expected) / (1 + np.abs(expected))))


def tells_apart(values: Wide) -> bool:
    """Tell whether values differ enough to choose between comparisons by them."""
    return float(np.ptp(values)) > LEAST_SPREAD
