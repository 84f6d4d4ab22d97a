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
MODEL = "model.keras"  # of a training on word vectors


@dataclass(frozen=True, slots=True)
class TrainingFiles:
    """The training pairs, the held-out pairs, and the directory of the adapter."""

    _: KW_ONLY
    train: Annotated[tuple[Path, ...], Parameter(negative=(), consume_multiple=1)]
    """Training files with the columns premise, hypothesis and label, or text and label: .tsv, .csv,
    .jsonl or .parquet, also as .gz. A label is a name or a number from 0; rows with the label -1 or
    - are dropped."""
    validation: Annotated[tuple[Path, ...], Parameter(negative=(), consume_multiple=1)]
    """Held-out files of the same format, which choose the epoch (with --patience) and the
    temperature."""
    test: Annotated[tuple[Path, ...], Parameter(negative=(), consume_multiple=1)] = ()
    """Held-out files of the same format, which choose nothing. The accuracy is measured on them
    once, at the end."""
    unlabelled: Annotated[tuple[Path, ...], Parameter(negative=(), consume_multiple=1)] = ()
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

    def read(self, labels: Sequence[str]) -> TrainingData:
        """Read the pairs.

        Raises:
            ExportError: a label is given twice; a file is missing or damaged, or holds another
                label; pairs and single texts are mixed; or only one label is there to be learnt.
        """
        if twice := sorted({label for label in labels if labels.count(label) > 1}):
            raise ExportError(f"--label: {twice[0]!r} is given twice")
        training = read_pairs(self.train, labels)
        held_out = [read_pairs(paths, labels) for paths in (self.validation, self.test) if paths]
        unlabelled = read_unlabelled(self.unlabelled)
        for flag, files in zip(("--validation", "--test"), held_out, strict=False):
            _require_kind(flag, files, single=training.single)
            if self.hold_out_premises:
                training = without_premises_of(training, files)
            if not training.pairs:
                raise ExportError("--hold-out-premises leaves no pair of --train")
        found = {pair.label for pair in training.pairs}
        if len(found) == 1 and not unlabelled.pairs:
            only = labels[found.pop()]
            raise ExportError(f"--train: every label is {only!r}; a classifier learns from two")
        if unlabelled.pairs:
            _require_kind("--unlabelled", unlabelled, single=training.single)
        test = held_out[1] if self.test else None
        return TrainingData(training, held_out[0], unlabelled, test)


def require_free(output: Path, result: str, *, resume: bool, fresh: bool) -> None:
    """Refuse a directory with results that no flag says to replace.

    Args:
        output: where the training writes.
        result: a file that a training leaves when it ends, or * for any file.
        resume: whether to continue at a checkpoint.
        fresh: whether to replace what is there.

    Raises:
        ExportError: the directory holds a checkpoint or a result, and no flag says what to do.
    """
    if resume and fresh:
        raise ExportError(
            "--resume continues a training and --fresh starts again: pass one of them"
        )
    if output.exists() and not output.is_dir():
        raise ExportError(f"{output}: is a file; --output takes a directory")
    if fresh:
        return
    if (output / CHECKPOINT).exists():
        if not resume:
            raise ExportError(
                f"{output}: holds the checkpoint of a training that was cut off; --resume goes on"
                " with it, --fresh begins again"
            )
    elif found := next(output.glob(result), None):
        raise ExportError(
            f"{output}: holds {found.name}; --fresh replaces it, another --output keeps it"
        )


def _require_kind(flag: str, files: PairFiles[Any], *, single: bool) -> None:
    if files.single != single:
        kinds = ("pairs", "single texts") if single else ("single texts", "pairs")
        raise ExportError(f"{flag} holds {kinds[0]}, and --train {kinds[1]}")
