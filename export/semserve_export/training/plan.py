"""The numbers of a training, apart from the training so that a command line can offer them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from semserve_export.number_bounds import SEEDS, Bounds

Precision = Literal["float32", "mixed_bfloat16"]
LoraProducts = Literal["query-value", "all"]

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
    """With the same files and the same machine, the same plan gives the same adapter."""

    epochs: int = 3
    """How often every pair is seen; the learning rate falls to 0 at the end of the last epoch."""
    batch_size: int = 32
    """Pairs a step."""
    learning_rate: float = 1.5e-4
    """The highest rate, reached after the warm-up."""
    warmup_fraction: float = 0.1
    """Share of all steps in which the rate rises from 0."""
    weight_decay: float = 0.01
    """AdamW's, for kernels only."""
    gradient_norm_max: float = 1.0
    """Gradients are scaled down to this norm, all taken together."""
    label_smoothing: float = 0.05
    """Share of a label's target that is spread over all labels."""
    dropout: float = 0.1
    """Share of the activations that is left out in training."""
    average: float | None = None
    """Keep a running mean of the weights instead of the last ones: its decay a step, say 0.999."""
    lora: int | None = None
    """Train the head and updates of this rank to queries and values, not the whole encoder."""
    lora_products: LoraProducts = "query-value"
    """What --lora updates: queries and values, or all six products of a layer, with its norms."""
    upper_layers: int | None = None
    """Train only so many of the last layers, and the head; steps are quicker, adapters smaller."""
    train_embeddings: bool = False
    """Train the embedding tables too: for small models; the adapter grows by a byte a value."""
    start: Annotated[tuple[Path, ...], Parameter(negative=(), consume_multiple=1)] = ()
    """Adapters to begin from, their mean where there are several; else a fresh head."""
    teachers: Annotated[tuple[Path, ...], Parameter(negative=(), consume_multiple=1)] = ()
    """Bundles to learn from beside the labels: the mean of their answers is part of the target."""
    teacher_weight: float = 0.5
    """The part of the target that is the teachers'; of unlabelled pairs all of it is."""
    teacher_variant: str = "portable"
    """The teachers' graph; int8 is nearly as good a teacher in less than half the time."""
    symmetric: Annotated[tuple[str, ...], Parameter(negative=(), consume_multiple=1)] = ()
    """Labels that hold the other way round too, as contradiction does: pairs to be swapped too."""
    patience: int | None = None
    """Stop after so many epochs without a better validation accuracy, and keep the best epoch."""
    precision: Precision = "float32"
    """mixed_bfloat16 halves the time of a step on processors that compute in it (AVX-512 BF16)."""
    max_tokens: int = 96
    """Longest encoding in training; longer pairs are cut. Serving allows the model's own length."""
    seed: int = 20
    """Of the head, the order of the pairs and the dropout."""
