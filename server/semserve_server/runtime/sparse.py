"""Sparse rows: the weights of a row that are above 0, with their places. Pure arithmetic."""

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
    """Places in the vocabulary, ascending: uint32 [weights]."""
    values: NDArray[np.float32]
    """The weights at these places, above 0: float32 [weights]."""


def sparse_rows(rows: NDArray[np.float32], encodings: Sequence[Encoding]) -> list[SparseRow]:
    """Take the weights above 0 from each row, and of them the largest that its encoding wants.

    It takes 20 to 200 us a row of 30,522 numbers, so it is work for the thread of the run.

    Args:
        rows: float32 [n, vocabulary].
        encodings: one a row; their `most_weights` counts.
    """
    return [
        sparse_row(row, encoding.most_weights)
        for row, encoding in zip(rows, encodings, strict=True)
    ]


def sparse_row(row: NDArray[np.float32], most: int = 0) -> SparseRow:
    """Take the weights above 0 from one row.

    Args:
        row: float32 [vocabulary].
        most: how many to take, the largest ones, of equal ones those of the lowest index; 0 for
            all.
    """
    indices = np.flatnonzero(row > 0)
    if most and len(indices) > most:
        order = np.argsort(-row[indices], kind="stable")[:most]
        indices = np.sort(indices[order])
    return SparseRow(indices.astype(np.uint32), row[indices])
