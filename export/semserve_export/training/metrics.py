"""How well a model does: accuracy and F1 of its labels, correlation of its scores."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class LabelQuality:
    """A confusion matrix: int64 [labels, labels], with a row for each true label."""

    confusion: npt.NDArray[np.int64]

    @classmethod
    def of(cls, logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> Self:
        """Count the largest logits, fp32 [texts, labels], against true labels, int64 [texts]."""
        confusion = np.zeros((logits.shape[1],) * 2, np.int64)
        np.add.at(confusion, (labels, logits.argmax(axis=1)), 1)
        return cls(confusion)

    @property
    def accuracy(self) -> float:
        """Accuracy: the fraction of texts with a correct label."""
        return float(np.trace(self.confusion) / self.confusion.sum())

    @property
    def precision(self) -> list[float]:
        """Precision: the fraction of correct predictions of a label; 0 without any."""
        return self._share_of(self.confusion.sum(axis=0))

    @property
    def recall(self) -> list[float]:
        """Recall: the fraction of correctly predicted texts of a label; 0 without such texts."""
        return self._share_of(self.confusion.sum(axis=1))

    @property
    def f1(self) -> list[float]:
        """F1: the harmonic mean of a label's precision and recall; 0 if it was never correct."""
        return self._share_of((self.confusion.sum(axis=0) + self.confusion.sum(axis=1)) / 2)

    def _share_of(self, counts: npt.NDArray[np.floating] | npt.NDArray[np.int64]) -> list[float]:
        right: list[float] = (np.diag(self.confusion) / np.maximum(counts, 0.5)).tolist()
        return right


def spearman(left: Numbers, right: Numbers) -> float:
    """Return the correlation of ranks; equal values share the mean of their ranks."""
    return pearson(_ranks(left), _ranks(right))


def pearson(left: Numbers, right: Numbers) -> float:
    """Return the linear correlation; NaN where one of both is constant."""
    left, right = left - left.mean(), right - right.mean()
    spread = np.sqrt(np.sum(left**2) * np.sum(right**2))
    return float(np.sum(left * right) / spread) if spread > 0 else float("nan")


def _ranks(values: Numbers) -> Numbers:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[inverse])
