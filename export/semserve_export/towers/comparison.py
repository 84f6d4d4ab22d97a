"""Recognises the comparison of two vectors by the values that it computes.

A head may be a `Dot` layer, a `Lambda`, `keras.ops` or a layer of the user's own. It runs on random
vectors, and its values are compared with those of each metric of the server.
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
"""Largest permitted difference of a head, relative to 1 + |value|."""
SEED, PAIRS = 11, 32
SCALES = (1.0, 0.1, 0.01)
"""Scales of the random vectors: exp(-L1) of large vectors is zero for any exponent."""
LEAST_SPREAD = 1e-3
"""Minimum spread of the values: a nearly constant head would match any comparison."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The comparison of two vectors, as a metric of the server."""

    metric: Metric
    sign: int = 1  # -1 if the model returns the distance; the server returns its negative

    def __call__(self, left: Rows, right: Rows) -> Wide:
        """Return the output of the model for each pair of rows: float64 [n]."""
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
    """Return the comparison that a head computes, or None if the server has no equal metric.

    Args:
        head: from two fp32 [n, width] to fp32 [n] or [n, 1].
        width: size of the vectors.
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
        right: vectors of the other texts of the pairs.
        values: outputs of the model for the pairs, [n].
    """
    found = [(one, difference(one(left, right), values)) for one in CANDIDATES]
    return sorted(found, key=lambda pair: pair[1])


def difference(given: Wide, expected: Wide) -> float:
    """Return the largest difference relative to 1 + |expected|; NaN if a value is NaN."""
    return float(np.max(np.abs(given - expected) / (1 + np.abs(expected))))


def tells_apart(values: Wide) -> bool:
    """Return whether values differ enough to distinguish comparisons."""
    return float(np.ptp(values)) > LEAST_SPREAD
