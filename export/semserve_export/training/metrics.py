"""How well a classifier labels: counts, accuracy, and F1 of each label."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class LabelQuality:
    """Answers counted: int64 [labels, labels], a row for each true label."""

    confusion: npt.NDArray[np.int64]

    @classmethod
    def of(cls, logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> Self:
        """Count the largest logits, fp32 [texts, labels], against true labels, int64 [texts]."""
        confusion = np.zeros((logits.shape[1],) * 2, np.int64)
        np.add.at(confusion, (labels, logits.argmax(axis=1)), 1)
        return cls(confusion)

    @property
    def accuracy(self) -> float:
        """The share of texts that got their label."""
        return float(np.trace(self.confusion) / self.confusion.sum())

    @property
    def precision(self) -> list[float]:
        """Of the texts that got a label, the share whose label it is; 0 where none got it."""
        return self._share_of(self.confusion.sum(axis=0))

    @property
    def recall(self) -> list[float]:
        """Of the texts of a label, the share that got it; 0 where there are none."""
        return self._share_of(self.confusion.sum(axis=1))

    @property
    def f1(self) -> list[float]:
        """The harmonic mean of a label's precision and recall; 0 where it was never right."""
        return self._share_of((self.confusion.sum(axis=0) + self.confusion.sum(axis=1)) / 2)

    def _share_of(self, counts: npt.NDArray[np.floating] | npt.NDArray[np.int64]) -> list[float]:
        right: list[float] = (np.diag(self.confusion) / np.maximum(counts, 0.5)).tolist()
        return right
