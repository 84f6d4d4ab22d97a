"""Scores from vectors: pure arithmetic over the rows that an engine returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]
_Matrix = NDArray[np.float64]


def scores(left: Rows, right: Rows, metric: str) -> NDArray[np.float32]:
    """Score every left vector against every right one; higher is more similar.

    Args:
        left: float32 [m, dimensions].
        right: float32 [n, dimensions].
        metric: a key of `METRICS`.

    Returns:
        Float32 [m, n], computed in float64.
    """
    return METRICS[metric](left.astype(np.float64), right.astype(np.float64)).astype(np.float32)


def pair_scores(left: Rows, right: Rows, metric: str) -> NDArray[np.float32]:
    """Score each left vector against the right one of the same place.

    Args:
        left: float32 [n, dimensions].
        right: float32 [n, dimensions].
        metric: a key of `METRICS`.

    Returns:
        Float32 [n].
    """
    return np.array(
        [scores(a[None], b[None], metric)[0, 0] for a, b in zip(left, right, strict=True)],
        np.float32,
    )


def top(row: NDArray[np.float32], k: int) -> NDArray[np.intp]:
    """Return the places of the `k` highest scores, best first, equal ones in their order."""
    return np.argsort(-row, kind="stable")[:k]


def normalized(rows: Rows) -> Rows:
    """Scale each vector to unit length; a zero vector stays zero."""
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    scaled: _Matrix = rows / np.maximum(lengths, 1e-12)
    return scaled.astype(np.float32)


def softmax(logits: Rows) -> NDArray[np.float32]:
    """Turn float32 [n, classes] into probabilities, computed in float64."""
    wide = logits.astype(np.float64)
    powers = np.exp(wide - wide.max(axis=1, keepdims=True))
    shares: _Matrix = powers / powers.sum(axis=1, keepdims=True)
    return shares.astype(np.float32)


def sigmoid(logits: Rows) -> NDArray[np.float32]:
    """Turn float32 [n, classes] into one independent probability each, computed in float64."""
    # 1 / (1 + exp(-x)) by its logarithm, which cannot overflow.
    shares: _Matrix = np.exp(-np.logaddexp(0.0, -logits.astype(np.float64)))
    return shares.astype(np.float32)


def _cosine(left: _Matrix, right: _Matrix) -> _Matrix:
    lengths = np.linalg.norm(left, axis=1)[:, None] * np.linalg.norm(right, axis=1)
    cosines: _Matrix = np.clip(left @ right.T / np.maximum(lengths, 1e-12), -1.0, 1.0)
    return cosines


def _euclidean(left: _Matrix, right: _Matrix) -> _Matrix:
    # By rows rather than by (a-b)^2 = a^2 - 2ab + b^2, which cancels for near vectors.
    return -np.stack([np.linalg.norm(right - row, axis=1) for row in left])


def _manhattan(left: _Matrix, right: _Matrix) -> _Matrix:
    """Score by exp(-L1), as Mueller and Thyagarajan's Siamese LSTM (AAAI 2016) does."""
    distances = np.stack([np.abs(right - row).sum(axis=1) for row in left])
    similarities: _Matrix = np.exp(-distances)
    return similarities


SCORES: Mapping[str, Callable[[Rows], NDArray[np.float32]]] = MappingProxyType(
    {"softmax": softmax, "sigmoid": sigmoid}
)
"""How a classifier's logits become scores, by the manifest's field `scores`."""
METRICS: Mapping[str, Callable[[_Matrix, _Matrix], _Matrix]] = MappingProxyType(
    {
        "cosine": _cosine,
        "dot": lambda left, right: left @ right.T,
        "euclidean": _euclidean,
        "manhattan": _manhattan,
    }
)
