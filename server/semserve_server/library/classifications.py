"""The result of a classification."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Classifications:
    """The labels and scores of texts or pairs, in the order of the call."""

    classes: tuple[str, ...]
    """The model's labels, in the order of the columns below."""
    labels: tuple[str, ...]
    """The label with the highest score of each text or pair; of equal scores, the first label."""
    scores: NDArray[np.float32]
    """Float32 [texts, classes]: probabilities, or the logits if the bundle says `scores: none`."""
    logits: NDArray[np.float32]
    """Float32 [texts, classes]: the outputs of the model."""
