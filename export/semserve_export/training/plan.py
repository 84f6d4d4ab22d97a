"""The hyperparameters of a training, in a module that the command line can import without Keras."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from semserve_export.number_bounds import SEEDS, Bounds

Precision = Literal["float32", "mixed_bfloat16"]
LoraProducts = Literal["query-value", "all"]

TRANSFORMER_RATE = 1.5e-4
TRAINING_BOUNDS: Bounds = {
    "epochs": (0, 10_000),
    "batch_size": (1, 65_536),
    "learning_rate": (0, 10),
    "warmup_fraction": (0, 1),
    "weight_decay": (0, 10),
    "gradient_norm_max": (1e-6, 1e6),
    "label_smoothing": (0, 1),
    "dropout": (0, 0.9),
    "average": (0, 0.99999),
    "lora": (1, 4096),
    "teacher_weight": (0, 1),
    "patience": (1, 10_000),
    "max_tokens": (8, 65_536),
    "seed": SEEDS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """The hyperparameters. The same plan, files and machine give the same adapter."""

    epochs: int = 3
    """Number of passes over all pairs. The learning rate decreases to 0 at the end of the last."""
    batch_size: int = 32
    """Number of pairs in one step."""
    learning_rate: float | None = None
    """Maximum learning rate, which is reached at the end of the warm-up. By default 0.00015, and
    0.001 with --vectors."""
    warmup_fraction: float = 0.1
    """Fraction of all steps in which the learning rate increases from 0 (warm-up)."""
    weight_decay: float = 0.01
    """Weight decay of AdamW, which applies only to kernels."""
    gradient_norm_max: float = 1.0
    """Maximum global norm of the gradients. Larger gradients are scaled down to it."""
    label_smoothing: float = 0.05
    """Fraction of the target probability that is spread over all labels."""
    dropout: float = 0.1
    """Fraction of the activations that dropout sets to 0 in training."""
    average: float | None = None
    """Save an exponential moving average of the weights instead of the last weights. The value is
    the decay of each step, such as 0.999."""
    lora: int | None = None
    """Train the head and low-rank updates (LoRA) of queries and values with this rank, instead of
    the whole encoder."""
    lora_products: LoraProducts = "query-value"
    """Weights that --lora updates: queries and values, or all six matrix products of a layer and
    its norms."""
    upper_layers: int | None = None
    """Train only this number of last layers, and the head. Steps are faster and the adapter is
    smaller."""
    train_embeddings: bool = False
    """Also train the embedding tables. The adapter grows by one byte for each value, so use this
    for small models."""
    start: Annotated[tuple[Path, ...], Parameter(negative=(), consume_multiple=1)] = ()
    """Adapters to start from; of several adapters the mean. By default, a new head is trained."""
    teachers: Annotated[tuple[Path, ...], Parameter(negative=(), consume_multiple=1)] = ()
    """Bundles of teachers. The mean of their scores is a part of the training target."""
    teacher_weight: float = 0.5
    """Weight of the teachers' scores in the target, from 0 to 1. It is 1 for unlabelled pairs."""
    teacher_variant: str = "portable"
    """Variant of the teachers. int8 teaches nearly as well, in less than half the time."""
    symmetric: Annotated[tuple[str, ...], Parameter(negative=(), consume_multiple=1)] = ()
    """Labels that stay valid if the two texts are swapped, such as contradiction. Their pairs are
    also trained on in the swapped order."""
    patience: int | None = None
    """Stop after this number of epochs without a better validation accuracy, and keep the best
    epoch."""
    precision: Precision = "float32"
    """mixed_bfloat16 halves the time of a step on processors that support AVX-512 BF16."""
    max_tokens: int = 96
    """Maximum number of tokens of a pair in training; longer pairs are truncated. The default is
    less if the model takes fewer tokens. The server uses the model's own length."""
    seed: int = 20
    """Seed of the head's initial weights, the order of the pairs and the dropout."""

    @property
    def transformer_rate(self) -> float:
        """The maximum learning rate of a transformer."""
        return TRANSFORMER_RATE if self.learning_rate is None else self.learning_rate
