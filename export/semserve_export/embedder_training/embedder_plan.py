"""The numbers of an embedder's training."""

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
    """How to train."""

    objective: Objective = "cosine"
    """cosine and manhattan: the similarity of a pair becomes its score; manhattan is exp(-L1).
    ranking: a text is nearer to its partner than to those of the other pairs of the batch."""
    pooling: Pooling = "mean"
    """How the vectors of the tokens become one."""
    epochs: int = 1
    """How often each pair is seen."""
    batch_size: int = 32
    """Pairs a step."""
    learning_rate: float = 2e-5
    """Of AdamW, the highest; it falls to 0."""
    warmup_fraction: float = 0.1
    """Share of all steps in which the rate rises from 0."""
    score_max: float = 1.0
    """The score of a pair that means the same (5 for STS-B); 0 means that nothing is shared."""
    max_tokens: int = 128
    """Longer texts are cut in training."""
    seed: int = 20
    """Of the order of the pairs and the dropout."""

    @property
    def metric(self) -> str:
        """How the server is to compare the vectors."""
        return "manhattan" if self.objective == "manhattan" else "cosine"
