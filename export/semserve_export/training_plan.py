"""The numbers of a training, apart from the training so that a command line can offer them."""

from dataclasses import dataclass


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
    """Share of the target that is spread over all labels."""
    dropout: float = 0.1
    """Share of the activations that is left out in training."""
    max_tokens: int = 96
    """Longest encoding in training; longer pairs are cut. Serving allows the model's own length."""
    seed: int = 20
    """Of the head, the order of the pairs and the dropout."""
