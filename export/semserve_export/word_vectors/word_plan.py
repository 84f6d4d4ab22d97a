"""The numbers of a word model's training."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WordPlan:
    """How to train."""

    epochs: int = 4
    """How often each pair is seen."""
    batch_size: int = 128
    """Pairs of a step; each left text is scored against every right one."""
    learning_rate: float = 3e-3
    """Of Adam, at the start; it falls to 0 along a cosine."""
    dropout: float = 0.0
    """Share of each word vector that an LSTM does not see in training."""
    freeze_words: bool = False
    """Keep the public vectors as they are, and train only the LSTM."""
    score_max: float = 5.0
    """The score of a pair that means the same; 0 means that nothing is shared."""
    teacher_variant: str = "portable"
    """The teacher's graph; int8 is as good a teacher in half the time."""
    max_tokens: int = 64
    """Longer texts are cut in training."""
    seed: int = 7
    """Of the weights that are drawn, and of the order of the pairs."""
