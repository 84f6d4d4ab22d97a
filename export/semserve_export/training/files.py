"""What a training reads and where it leaves its results, as the person at the terminal says it."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from semserve_export.data.pairs import (
    TrainingData,
    read_pairs,
    read_unlabelled,
    without_premises_of,
)


@dataclass(frozen=True, slots=True)
class TrainingFiles:
    """The pairs to learn from, those to measure on, and the adapter."""

    _: KW_ONLY
    train: Annotated[tuple[Path, ...], Parameter(negative=(), consume_multiple=True)]
    """Files with columns premise, hypothesis and label: .tsv, .csv, .jsonl or .parquet, or .gz."""
    validation: Annotated[tuple[Path, ...], Parameter(negative=(), consume_multiple=True)]
    """The same, held out: what accuracy is measured and the temperature fitted on."""
    unlabelled: Annotated[tuple[Path, ...], Parameter(negative=(), consume_multiple=True)] = ()
    """Files with columns premise and hypothesis, for teachers to answer; `mix-pairs` makes some."""
    hold_out_premises: Annotated[bool, Parameter(negative=())] = False
    """Learn from no pair that has a premise of the held-out pairs, on either side."""
    output: Path | None = None
    """The adapter's directory; `.cache/adapters/NAME` where left out."""
    resume: Annotated[bool, Parameter(negative=())] = False
    """Go on with the training that was cut off in that directory."""
    answers: Path = Path(".cache/answers")
    """Where the teachers' answers are kept for the next training."""
    notice: str = ""
    """Whose work it is, for the NOTICE of bundles: authors, licence, training data."""

    def read(self, labels: Sequence[str]) -> TrainingData:
        """Read the pairs.

        Raises:
            ExportError: a file is missing or damaged, or holds a label that is none of these.
        """
        training, validation = read_pairs(self.train, labels), read_pairs(self.validation, labels)
        if self.hold_out_premises:
            training = without_premises_of(training, validation)
        return TrainingData(training, validation, read_unlabelled(self.unlabelled))
