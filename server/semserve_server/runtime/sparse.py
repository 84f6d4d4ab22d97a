"""Sparse rows: the positive weights of a row, with their indices. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semserve_server.runtime.encoding import Encoding


@dataclass(frozen=True, slots=True, eq=False)
class SparseRow:
    """The weights of one text."""

    indices: NDArray[np.uint32]
    """Indices in the vocabulary, ascending: uint32 [weights]."""
    values: NDArray[np.float32]
    """The weights at these indices, above 0: float32 [weights]."""


def sparse_rows(rows: NDArray[np.float32], encodings: Sequence[Encoding]) -> list[SparseRow]:
    """Convert rows to sparse rows, with the largest weights that each encoding asks for.

    This takes 20 to 200 us for a row of 30,522 numbers, so it runs on the thread of the run.

    Args:
        rows: float32 [n, vocabulary].
        encodings: one for each row; `most_weights` is the number of weights to keep.
    """
    return [
        sparse_row(row, encoding.most_weights)
        for row, encoding in zip(rows, encodings, strict=True)
    ]


def sparse_row(row: NDArray[np.float32], most: int = 0) -> SparseRow:
    """Convert one row to a sparse row.

    Args:
        row: float32 [vocabulary].
        most: number of the largest weights to keep; of equal weights, those with the lowest index.
            0 for all.
    """
    indices = np.flatnonzero(row > 0)
    if most and len(indices) > most:
        order = np.argsort(-row[indices], kind="stable")[:most]
        indices = np.sort(indices[order])
    return SparseRow(indices.astype(np.uint32), row[indices])
