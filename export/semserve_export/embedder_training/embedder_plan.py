"""The hyperparameters of an embedder's training."""

from dataclasses import dataclass
from typing import Literal

from semserve_export.model_spec import Pooling
from semserve_export.number_bounds import SEEDS, Bounds

Objective = Literal["cosine", "manhattan", "ranking"]

EMBEDDER_BOUNDS: Bounds = {
    "epochs": (0, 10_000),
    "batch_size": (1, 65_536),
    "learning_rate": (0, 10),
    "warmup_fraction": (0, 1),
    "score_max": (1e-6, 1e6),
    "max_tokens": (8, 65_536),
    "seed": SEEDS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedderPlan:
    """The hyperparameters."""

    objective: Objective = "cosine"
    """cosine and manhattan: the similarity of a pair equals its score; manhattan is exp(-L1).
    ranking: a text is more similar to its partner than to the partners of the other pairs."""
    pooling: Pooling = "mean"
    """How the vectors of the tokens are combined to one vector."""
    epochs: int = 1
    """Number of passes over all pairs."""
    batch_size: int = 32
    """Number of pairs in one step."""
    learning_rate: float = 2e-5
    """Maximum learning rate of AdamW, which then decreases to 0."""
    warmup_fraction: float = 0.1
    """Fraction of all steps in which the learning rate increases from 0 (warm-up)."""
    score_max: float = 1.0
    """Score of a pair of the same meaning (5 for STS-B). A pair of unrelated meaning has score
    0."""
    max_tokens: int = 128
    """Maximum number of tokens of a text in training; longer texts are truncated. The default is
    less if the model takes fewer tokens."""
    seed: int = 20
    """Seed of the order of the pairs and of the dropout."""

    @property
    def metric(self) -> str:
        """The metric with which the server compares the vectors."""
        return "manhattan" if self.objective == "manhattan" else "cosine"
