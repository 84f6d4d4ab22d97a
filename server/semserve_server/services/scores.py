"""Scores from vectors: pure arithmetic on the rows that an engine returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]
_Matrix = NDArray[np.float64]

PIECE_OPERATIONS = 2_097_152
"""Numbers that one piece of `scores_in_pieces` multiplies or subtracts: 1 to 5 ms of work."""


def scores(left: Rows, right: Rows, metric: str) -> NDArray[np.float32]:
    """Compute the score of every left vector with every right vector; higher is more similar.

    Args:
        left: float32 [m, dimensions].
        right: float32 [n, dimensions].
        metric: a key of `METRICS`.

    Returns:
        Float32 [m, n], computed in float64.
    """
    return METRICS[metric](left.astype(np.float64), right.astype(np.float64)).astype(np.float32)


def scores_in_pieces(left: Rows, right: Rows, metric: str) -> Iterator[NDArray[np.float32]]:
    """Compute the rows of `scores`, some rows at a time.

    Args:
        left: float32 [m, dimensions].
        right: float32 [n, dimensions].
        metric: a key of `METRICS`.

    Yields:
        Float32 [rows, n], for consecutive rows of `left`. A piece has as many rows as
        `PIECE_OPERATIONS` allows, and at least one.
    """
    wide = right.astype(np.float64)
    size = max(PIECE_OPERATIONS // max(right.size, 1), 1)
    for at in range(0, len(left), size):
        piece = left[at : at + size].astype(np.float64)
        yield METRICS[metric](piece, wide).astype(np.float32)


def pair_scores(left: Rows, right: Rows, metric: str) -> NDArray[np.float32]:
    """Compute the score of each left vector with the right vector of the same index.

    Args:
        left: float32 [n, dimensions].
        right: float32 [n, dimensions].
        metric: a key of `PAIR_METRICS`.

    Returns:
        Float32 [n], computed in float64.
    """
    wide = left.astype(np.float64), right.astype(np.float64)
    return PAIR_METRICS[metric](*wide).astype(np.float32)


def top(row: NDArray[np.float32], k: int) -> NDArray[np.intp]:
    """Return the indices of the `k` highest scores, best first. Equal scores keep their order."""
    return np.argsort(-row, kind="stable")[:k]


def normalized(rows: Rows) -> Rows:
    """Scale each vector to unit length; a zero vector stays zero."""
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    scaled: _Matrix = rows / np.maximum(lengths, 1e-12)
    return scaled.astype(np.float32)


def softmax(logits: Rows) -> NDArray[np.float32]:
    """Convert logits, float32 [n, classes], to probabilities. Computed in float64."""
    wide = logits.astype(np.float64)
    powers = np.exp(wide - wide.max(axis=1, keepdims=True))
    shares: _Matrix = powers / powers.sum(axis=1, keepdims=True)
    return shares.astype(np.float32)


def sigmoid(logits: Rows) -> NDArray[np.float32]:
    """Convert logits, float32 [n, classes], to independent probabilities. Computed in float64."""
    # 1 / (1 + exp(-x)) by its logarithm, which cannot overflow.
    shares: _Matrix = np.exp(-np.logaddexp(0.0, -logits.astype(np.float64)))
    return shares.astype(np.float32)


def _cosine(left: _Matrix, right: _Matrix) -> _Matrix:
    lengths = np.linalg.norm(left, axis=1)[:, None] * np.linalg.norm(right, axis=1)
    cosines: _Matrix = np.clip(left @ right.T / np.maximum(lengths, 1e-12), -1.0, 1.0)
    return cosines


def _euclidean(left: _Matrix, right: _Matrix) -> _Matrix:
    # Row by row, because (a-b)^2 = a^2 - 2ab + b^2 loses precision for vectors that are close.
    return -np.stack([np.linalg.norm(right - row, axis=1) for row in left])


def _manhattan(left: _Matrix, right: _Matrix) -> _Matrix:
    """Compute exp(-L1), as the Siamese LSTM of Mueller and Thyagarajan (AAAI 2016) does."""
    distances = np.stack([np.abs(right - row).sum(axis=1) for row in left])
    similarities: _Matrix = np.exp(-distances)
    return similarities


SCORES: Mapping[str, Callable[[Rows], NDArray[np.float32]]] = MappingProxyType(
    {"softmax": softmax, "sigmoid": sigmoid, "none": lambda logits: logits}
)
"""How logits become scores, by the manifest's field `scores`."""
METRICS: Mapping[str, Callable[[_Matrix, _Matrix], _Matrix]] = MappingProxyType(
    {
        "cosine": _cosine,
        "dot": lambda left, right: left @ right.T,
        "euclidean": _euclidean,
        "manhattan": _manhattan,
    }
)


def _pair_dot(left: _Matrix, right: _Matrix) -> _Matrix:
    products: _Matrix = np.einsum("nd,nd->n", left, right)
    return products


def _pair_cosine(left: _Matrix, right: _Matrix) -> _Matrix:
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    cosines: _Matrix = np.clip(_pair_dot(left, right) / np.maximum(lengths, 1e-12), -1.0, 1.0)
    return cosines


def _pair_manhattan(left: _Matrix, right: _Matrix) -> _Matrix:
    similarities: _Matrix = np.exp(-np.abs(left - right).sum(axis=1))
    return similarities


PAIR_METRICS: Mapping[str, Callable[[_Matrix, _Matrix], _Matrix]] = MappingProxyType(
    {
        "cosine": _pair_cosine,
        "dot": _pair_dot,
        "euclidean": lambda left, right: -np.linalg.norm(left - right, axis=1),
        "manhattan": _pair_manhattan,
    }
)
"""The formulas of `METRICS`, for pairs of rows with the same index."""
