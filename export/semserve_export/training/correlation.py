"""Correlations of scores with human judgements."""

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.floating]


def spearman(left: Numbers, right: Numbers) -> float:
    """Return the correlation of ranks; equal values share the mean of their ranks."""
    return pearson(_ranks(left), _ranks(right))


def pearson(left: Numbers, right: Numbers) -> float:
    """Return the linear correlation; NaN if one of the two is constant."""
    left, right = left - left.mean(), right - right.mean()
    spread = np.sqrt(np.sum(left**2) * np.sum(right**2))
    return float(np.sum(left * right) / spread) if spread > 0 else float("nan")


def _ranks(values: Numbers) -> Numbers:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[inverse])
