"""What a user asks for when new pairs are to be made of old ones."""

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
class MixingPlan:
    """What is made, and how many of one text; 0 leaves a way out."""

    _: KW_ONLY
    embedder: Path | None = None
    """A bundle that tells which texts are alike; `--near` and `--like` need one."""
    variant: str = "portable"
    """The embedder's graph; int8 is as good here, in less time."""
    hold_out: Annotated[Sequence[Path], Files] = ()
    """Files of pairs, none of whose texts is to be in a new pair, however it is written."""
    near: int = 8
    """Hypotheses for each premise, drawn from those nearest in meaning."""
    like: int = 8
    """Hypotheses for each premise, of the premises that are most like it."""
    swapped: bool = True
    """Each pair with its sides changed."""
    replaced: int = 4
    """For each pair, with a word replaced by another that stood between the same two words."""
    shortened: int = 1
    """For each premise, beside what is left of it when a run of its words is left out."""
    seed: int = 7
    """Of what is drawn."""
