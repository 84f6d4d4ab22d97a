# ruff: noqa: T201 - a command speaks by printing
"""The commands over long files: `semserve embed FILE --to` and `semserve classify FILE --to`."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semserve.cli.app import ServerFlags
from semserve.cli.command_error import CommandError, UsageError
from semserve.cli.input_texts import STANDARD_INPUT
from semserve.cli.output import print_json

if TYPE_CHECKING:
    from semserve import Client
    from semserve.calls.models import ModelInfo
    from semserve.requests.values import Task

Progress = Callable[[int], None]


def embed_file(
    files: Sequence[str],
    to: Path,
    flags: ServerFlags,
    options: Mapping[str, Any],
    *,
    column: str,
    overwrite: bool,
) -> None:
    """Embed every text of files, and write a row for each.

    Raises:
        UsageError: a file is not valid, has changed, or exists already.
    """
    from semserve.bulk.job import Job  # noqa: PLC0415 - --help needs no numpy
    from semserve.bulk.records import Columns  # noqa: PLC0415 - likewise
    from semserve.bulk.rows_of import vector_rows, vector_shape  # noqa: PLC0415 - likewise

    flags.refuse_lists("embed --to")
    inputs = _inputs(files)
    with flags.client() as client, file_failures():
        model = chosen_model(client, str(options["model"]), "embedding")
        width = int(options["dimensions"] or model.dimensions)
        sent = {**options, "model": model.name}
        job = Job(
            inputs=inputs,
            columns=Columns((column,) if column else ()),
            output=to,
            shape=vector_shape(width),
            settings=_settings(sent, model, column=column),
            stream=lambda batches: client.stream_embed(batches, **sent),
            rows=partial(vector_rows, width),
            overwrite=overwrite,
        )
        _run(job, model.name, flags)


def classify_file(
    files: Sequence[str],
    to: Path,
    flags: ServerFlags,
    options: Mapping[str, Any],
    *,
    columns: Sequence[str],
    overwrite: bool,
) -> None:
    """Classify every pair or text of files, and write a row for each.

    Raises:
        UsageError: a file is not valid, has changed, or exists already.
    """
    from semserve.bulk.job import Job  # noqa: PLC0415 - --help needs no numpy
    from semserve.bulk.records import Columns  # noqa: PLC0415 - likewise
    from semserve.bulk.rows_of import label_rows, label_shape  # noqa: PLC0415 - likewise

    if to.suffix.lower() == ".npy":
        raise UsageError(f"{to}: labels are no numbers; write .jsonl, .csv or .parquet")
    flags.refuse_lists("classify --to")
    inputs = _inputs(files)
    with flags.client() as client, file_failures():
        model = chosen_model(client, str(options["model"]), "classification")
        sent = {**options, "model": model.name}
        shape = label_shape(model.labels, pairs=model.takes_pairs)
        job = Job(
            inputs=inputs,
            columns=Columns(tuple(columns), pairs=model.takes_pairs),
            output=to,
            shape=shape,
            settings=_settings(sent, model, columns=[*columns]),
            stream=lambda batches: client.stream_classify(batches, **sent),
            rows=partial(label_rows, shape),
            overwrite=overwrite,
        )
        _run(job, model.name, flags)


def _inputs(files: Sequence[str]) -> list[Path]:
    if not files:
        raise UsageError("no file: with --to, the arguments are the files to read")
    if STANDARD_INPUT in files:
        raise UsageError("--to needs files, because standard input cannot be read again")
    return [Path(file) for file in files]


def _settings(sent: Mapping[str, Any], model: "ModelInfo", **columns: Any) -> dict[str, Any]:
    """Return what the rows depend on. Errors depend on allow_partial, and rows do not."""
    kept = {name: value for name, value in sent.items() if name != "allow_partial"}
    return {**kept, "digest": model.digest, **columns}


def chosen_model(client: "Client", name: str, task: "Task") -> "ModelInfo":
    """Return the model that the calls use, so that all of them name the same one."""
    if not name:
        name = client.server_info().default_models.get(task, "")
    model = client.model(name)
    if model.task != task:
        raise UsageError(f"{model.name} is a model for {model.task}, not for {task}")
    return model


@contextmanager
def file_failures() -> Iterator[None]:
    """Convert the errors of files to those of commands."""
    from semserve.bulk.errors import FileError, MissingPackage  # noqa: PLC0415 - as above

    try:
        yield
    except MissingPackage as error:
        raise CommandError(str(error)) from error
    except FileError as error:
        raise UsageError(str(error)) from error


def _run(job: Any, model: str, flags: ServerFlags) -> None:
    with row_bar(job.output.name, job.inputs) as progress:
        try:
            done = job.run(progress, partial(_resumed, job.output))
        except KeyboardInterrupt:
            line = f"semserve: interrupted; the same command continues {job.output}"
            print(line, file=sys.stderr, flush=True)
            raise
    document = {
        "to": str(job.output), "model": model, "rows": done.rows, "errors": done.failed,
        "token_count": done.tokens,
    }  # fmt: skip
    if flags.output != "table":
        print_json(document)
    else:
        failed = f", {done.failed} of them without a result" if done.failed else ""
        print(f"{job.output}: {done.rows} rows{failed}")


def _resumed(output: Path, rows: int) -> None:
    line = f"semserve: {output} has {rows} complete rows; continuing after them"
    print(line, file=sys.stderr, flush=True)


@contextmanager
def row_bar(name: str, inputs: Sequence[Path]) -> Iterator[Progress]:
    """Show rows, their rate and the time left on standard error, if that is a terminal.

    The time left is an estimate, because it counts empty lines as rows.
    """
    if not sys.stderr.isatty():
        yield lambda _rows: None
        return
    from rich.console import Console  # noqa: PLC0415 - as above
    from rich.progress import Progress as Bar  # noqa: PLC0415 - likewise
    from rich.progress import (  # noqa: PLC0415 - likewise
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from semserve.bulk.records import expected_rows  # noqa: PLC0415 - likewise

    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), TextColumn("{task.completed:,} rows"),
        TextColumn("{task.fields[rate]}"), TimeElapsedColumn(), TextColumn("left"),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=sum(map(expected_rows, inputs)) or None, rate="")

        def advance(rows: int) -> None:
            speed = bar.tasks[0].speed
            bar.update(task, completed=rows, rate=f"{speed:,.0f} rows/s" if speed else "")

        yield advance
