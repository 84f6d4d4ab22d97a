"""What a user names to train a word model on."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

Files = Parameter(consume_multiple=True, negative=())


@dataclass(frozen=True, slots=True)
class WordFiles:
    """Files as for `train`, with columns sentence1, sentence2 and score."""

    _: KW_ONLY
    scored: Annotated[Sequence[Path], Files]
    """Pairs that people have scored."""
    validation: Annotated[Sequence[Path], Files]
    """The same, held out."""
    unscored: Annotated[Sequence[Path], Files] = ()
    """Pairs without a score, for the teacher; premise and hypothesis do as names, too."""
    teacher: Path | None = None
    """An embedder's bundle, whose scores of all these texts are learnt."""
