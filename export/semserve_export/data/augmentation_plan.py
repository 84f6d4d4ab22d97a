"""The options of `mix-pairs`, which makes new pairs from existing ones."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from semserve_export.number_bounds import SEEDS, Bounds

Files = Parameter(consume_multiple=1, negative=())
MIXING_BOUNDS: Bounds = {
    **dict.fromkeys(("near", "like", "replaced", "shortened"), (0, 1000)),
    "seed": SEEDS,
}


@dataclass(frozen=True, slots=True)
class AugmentationPlan:
    """The kinds of new pairs, and their numbers; 0 means none of this kind."""

    _: KW_ONLY
    embedder: Path | None = None
    """Bundle of an embedder that finds similar texts; required for `--near` and `--like`."""
    variant: str = "portable"
    """Variant of the embedder. int8 gives equally good pairs in less time."""
    hold_out: Annotated[Sequence[Path], Files] = ()
    """Files of pairs whose texts must not occur in a new pair, whatever their case, blanks and
    punctuation."""
    near: int = 8
    """Number of new pairs for each premise with hypotheses of similar meaning."""
    like: int = 8
    """Number of new pairs for each premise with the hypotheses of similar premises."""
    swapped: bool = True
    """Make a new pair from each pair by swapping its texts."""
    replaced: int = 4
    """Number of new pairs for each pair in which a word is replaced by another word that occurs
    between the same two words."""
    shortened: int = 1
    """Number of new pairs of each premise and the same premise without some consecutive words."""
    seed: int = 7
    """Seed of the random choices."""
