"""The input files and the output directory of a training, as flags of the command line."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from semserve_export.data.pairs import (
    PairFiles,
    TrainingData,
    read_pairs,
    read_unlabelled,
    without_premises_of,
)
from semserve_export.errors import ExportError

CHECKPOINT = "checkpoint.safetensors"
ADAPTER = "adapter.safetensors"  # as in `delta_adapter`, whose import takes seconds


@dataclass(frozen=True, slots=True)
class TrainingFiles:
    """The training pairs, the held-out pairs, and the directory of the adapter."""

    _: KW_ONLY
    train: Annotated[tuple[Path, ...], Parameter(negative=(), consume_multiple=True)]
    """Training files with the columns premise, hypothesis and label, or text and label: .tsv, .csv,
    .jsonl or .parquet, also as .gz. A label is a name or a number from 0; rows with the label -1 or
    - are dropped."""
    validation: Annotated[tuple[Path, ...], Parameter(negative=(), consume_multiple=True)]
    """Held-out files of the same format, which choose the epoch (with --patience) and the
    temperature."""
    test: Annotated[tuple[Path, ...], Parameter(negative=(), consume_multiple=True)] = ()
    """Held-out files of the same format, which choose nothing. The accuracy is measured on them
    once, at the end."""
    unlabelled: Annotated[tuple[Path, ...], Parameter(negative=(), consume_multiple=True)] = ()
    """Files with the columns premise and hypothesis, which only the teachers label. `mix-pairs`
    makes such files."""
    hold_out_premises: Annotated[bool, Parameter(negative=())] = False
    """Drop training pairs in which either text is a premise of the held-out pairs."""
    output: Path | None = None
    """Directory of the adapter. By default, `.cache/adapters/NAME`."""
    resume: Annotated[bool, Parameter(negative=())] = False
    """Continue the interrupted training in that directory."""
    fresh: Annotated[bool, Parameter(negative=())] = False
    """Start from the beginning, and replace the adapter or the checkpoint in that directory."""
    answers: Path = Path(".cache/answers")
    """Directory that keeps the teachers' scores for later trainings."""
    notice: str = ""
    """Text for the file NOTICE of bundles: authors, licence, training data."""

    def require_free(self, output: Path) -> None:
        """Refuse an output directory with results, unless a flag allows to continue or replace it.

        Raises:
            ExportError: the directory contains a checkpoint or an adapter, and no flag allows it.
        """
        if self.resume and self.fresh:
            raise ExportError("--resume goes on with a training and --fresh begins again: say one")
        if self.fresh:
            return
        if (output / CHECKPOINT).exists():
            if not self.resume:
                raise ExportError(
                    f"{output}: holds the checkpoint of a training that was cut off; --resume goes"
                    " on with it, --fresh begins again"
                )
        elif (output / ADAPTER).exists():
            raise ExportError(
                f"{output}: holds the adapter of a training that ended; --fresh replaces it,"
                " another --output keeps it"
            )

    def read(self, labels: Sequence[str]) -> TrainingData:
        """Read the pairs.

        Raises:
            ExportError: a file is missing or damaged, or holds a label that is none of these; or
                pairs and single texts are mixed.
        """
        training = read_pairs(self.train, labels)
        held_out = [read_pairs(paths, labels) for paths in (self.validation, self.test) if paths]
        unlabelled = read_unlabelled(self.unlabelled)
        for flag, files in zip(("--validation", "--test"), held_out, strict=False):
            _require_kind(flag, files, single=training.single)
            if self.hold_out_premises:
                training = without_premises_of(training, files)
        if unlabelled.pairs:
            _require_kind("--unlabelled", unlabelled, single=training.single)
        test = held_out[1] if self.test else None
        return TrainingData(training, held_out[0], unlabelled, test)


def _require_kind(flag: str, files: PairFiles[Any], *, single: bool) -> None:
    if files.single != single:
        kinds = ("pairs", "single texts") if single else ("single texts", "pairs")
        raise ExportError(f"{flag} holds {kinds[0]}, and --train {kinds[1]}")
