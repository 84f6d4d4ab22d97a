"""`train --vectors`: the checks that do not need Keras."""

from pathlib import Path

from semserve_export.bundle.layout import require_place
from semserve_export.cli.terminal import commands
from semserve_export.errors import ExportError
from semserve_export.training.files import MODEL, TrainingFiles, require_free
from semserve_export.training.plan import TrainingPlan

OUTPUT = Path(".cache/trained")


def train_on_vectors(
    start: str,
    vectors: Path | None,
    labels: tuple[str, ...],
    files: TrainingFiles,
    plan: TrainingPlan,
) -> None:
    """Train a classifier of pairs on the user's word vectors, and save it as a `.keras` file.

    Raises:
        ExportError: a file or a flag is missing, or a flag is for another kind of training.
    """
    if vectors is None:
        raise ExportError("name a recipe or the directory of a preset, or --vectors FILE")
    if start:
        raise ExportError(f"--vectors: takes no start, and {start} is given")
    if not vectors.is_file():
        raise ExportError(f"--vectors: {vectors}: no such file")
    if len(labels) < 2:  # noqa: PLR2004 - a classifier has at least two labels
        raise ExportError("--vectors: the classifier needs its labels, --label one by one")
    if files.unlabelled or files.resume:
        flag = "--unlabelled" if files.unlabelled else "--resume"
        raise ExportError(f"{flag}: is for transformers, and --vectors trains an LSTM")
    output = files.output or OUTPUT / vectors.name.partition(".")[0]
    require_place(output)
    require_free(output, MODEL, resume=False, fresh=files.fresh)
    data = files.read(labels)
    commands("vectors_commands").train(vectors, labels, data, plan, output)
