"""A whole job: plans the shards, runs those that are missing, and checks the output."""

from __future__ import annotations

import fcntl
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from semserve_server.errors import JobFailed, JobRefused
from semserve_server.ray import input_files, shards
from semserve_server.ray.batches import check_model, new_columns
from semserve_server.ray.input_files import InputFile
from semserve_server.ray.manifest import ADVICE, NAME, Input, JobManifest, read_job
from semserve_server.ray.shard_files import ROW, UNFINISHED, rows_problem
from semserve_server.ray.shard_worker import ShardReport, WorkerSettings
from semserve_server.ray.shards import Shard
from semserve_server.repository.manifest import Manifest, read_manifest

LOCK = "_job.lock"
MAX_SHARDS = 100_000
"""Most shards of a job: their names have five digits, and Ray keeps an object for each."""
_ADDRESS = re.compile(r"[a-z][a-z0-9]+:/")
"""The beginning of `s3://bucket/key` as a path."""
Runner = Callable[[WorkerSettings, Sequence[Shard]], Iterator[ShardReport]]
"""Processes shards and yields a report for each, in any order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The settings of a job."""

    task: str
    bundle: Path
    source: Path
    """A Parquet file, or a directory of them."""
    output: Path
    """A directory."""
    columns: tuple[str, ...] = ()
    """Columns of the texts; empty for `text`, or `premise` and `hypothesis`."""
    keep: tuple[str, ...] = ()
    """Columns of the input that the output has too."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of each call to the model. None is the model's own rule."""
    shard_rows: int = 65_536
    allow_partial: bool = False
    overwrite: bool = False
    model_settings: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of `open_model`."""


@dataclass(slots=True)
class JobProgress:
    """How far a job is."""

    shards: int
    """All shards of the job."""
    rows: int
    """All rows of the job."""
    done_shards: int = 0
    done_rows: int = 0
    kept_shards: int = 0
    """Shards that an earlier run had completed."""
    computed_rows: int = 0
    failed_rows: int = 0
    """Rows with an error in the place of a result, of those that were computed now."""
    variants: set[str] = field(default_factory=set)
    """The graphs that ran now, each with its provider."""

    def add(self, report: ShardReport) -> None:
        """Count the report of a shard."""
        self.done_shards += 1
        self.done_rows += report.rows
        if report.computed:
            self.computed_rows += report.rows
            self.failed_rows += report.failed
            self.variants.add(report.variant)
        else:
            self.kept_shards += 1


def run_job(job: Job, runner: Runner, on_progress: Callable[[JobProgress], None]) -> JobProgress:
    """Run a job, or what is missing of it.

    Args:
        job: the job.
        runner: processes the shards.
        on_progress: called at the start, and after each shard.

    Raises:
        JobRefused: the input, the output or an option is wrong, or differs from the output's.
        JobFailed: a shard could not be completed, or the input changed meanwhile.
        BundleError: the bundle is missing or broken.
        OSError: the output cannot be written.
    """
    manifest, digest = read_manifest(job.bundle)
    columns = job.columns or _usual_columns(job.task, manifest)
    options = {name: value for name, value in job.options.items() if value is not None}
    check_model(job.task, manifest, columns, options)
    files = _checked_input(job, columns, new_columns(job.task, manifest))
    wanted = JobManifest(
        task=job.task,
        model=manifest.model,
        model_digest=digest,
        columns=columns,
        keep=job.keep,
        options={**options, **_choices(job.model_settings)},
        shard_rows=job.shard_rows,
        inputs=tuple(Input(name=one.name, sha256=one.sha256, rows=one.rows) for one in files),
    )
    plan = shards.plan([one.rows for one in files], job.shard_rows)
    if len(plan) > MAX_SHARDS:
        most = f"{len(plan)} shards, at most {MAX_SHARDS}"
        raise JobRefused(f"{job.source} has {most}: raise --shard-rows, or join small files")
    settings = WorkerSettings(
        task=job.task, bundle=job.bundle.resolve(), model_digest=digest, files=tuple(files),
        output=job.output.resolve(), key=wanted.key, columns=columns, keep=job.keep,
        options=options, allow_partial=job.allow_partial, model_settings=job.model_settings,
    )  # fmt: skip
    with _locked(job.output):
        _prepare(job, wanted, plan)
        progress = _run(settings, plan, runner, on_progress)
        _check_output(job.output, files, plan, wanted)
    return progress


def _run(
    settings: WorkerSettings,
    plan: Sequence[Shard],
    runner: Runner,
    on_progress: Callable[[JobProgress], None],
) -> JobProgress:
    progress = JobProgress(len(plan), sum(shard.rows for shard in plan))
    on_progress(progress)
    missing = {shard.number for shard in plan}
    for report in runner(settings, plan):
        if report.error:
            raise JobFailed(report.error)
        if report.number in missing:  # a shard that was repeated may be reported twice
            missing.discard(report.number)
            progress.add(report)
            on_progress(progress)
    if missing:
        raise JobFailed(f"{len(missing)} shards have no result: run the same command again")
    return progress


def _checked_input(job: Job, columns: Sequence[str], added: Sequence[str]) -> list[InputFile]:
    """Return the input files.

    Raises:
        JobRefused: they lack columns or rows, or the output is among them.
    """
    for path in (job.source, job.output):
        if _ADDRESS.match(str(path)):
            raise JobRefused(f"{path} is an address: mount it on every node, and name its path")
    source, output = job.source.resolve(), job.output.resolve()
    if output == source or source in output.parents:
        raise JobRefused(f"{job.output} is inside of the input {job.source}: name another output")
    for name in job.keep:
        if name in (ROW, *added):
            raise JobRefused(f"--keep {name}: the output has a column of this name: rename yours")
    files = input_files.find_files(job.source)
    schema = input_files.schema_of(files, tuple(dict.fromkeys((*columns, *job.keep))))
    input_files.check_texts(schema, columns)
    if not any(file.rows for file in files):
        raise JobRefused(f"{job.source} has no rows")
    return files


def _prepare(job: Job, wanted: JobManifest, plan: Sequence[Shard]) -> None:
    """Make the output ready for the job: write its manifest, and remove what is unfinished.

    Raises:
        JobRefused: the output belongs to another job, or to no job.
    """
    output = job.output
    if job.overwrite:
        for path in (output / NAME, *output.glob("part-*.parquet")):
            path.unlink(missing_ok=True)
    found = read_job(output)
    if found is not None:
        found.refuse_other(wanted, output)
    others = {path.name for path in output.iterdir()} - {NAME, LOCK, UNFINISHED, f"{NAME}.new"}
    others -= {shard.name for shard in plan} if found is not None else set()
    if others:
        raise JobRefused(f"{output} holds {min(others)}, which is not of this job: {ADVICE}")
    shutil.rmtree(output / UNFINISHED, ignore_errors=True)
    wanted.write(output)


def _check_output(
    output: Path, files: Sequence[InputFile], plan: Sequence[Shard], wanted: JobManifest
) -> None:
    """Check that the output has exactly the rows of the input, and mark it complete.

    Raises:
        JobFailed: a row is missing or doubled, or an input file has changed meanwhile.
    """
    for file in files:
        if file.has_changed():
            raise JobFailed(f"{file.path} has changed while the job ran: {ADVICE}")
    for shard in plan:
        problem = rows_problem(output / shard.name, shard, wanted.key)
        if problem:
            raise JobFailed(f"{output / shard.name}: {problem}: run the same command again")
    found = {path.name for path in output.glob("part-*.parquet")}
    extra = found - {shard.name for shard in plan}
    if extra:
        raise JobFailed(f"{output / min(extra)} is not of this job: delete it")
    shutil.rmtree(output / UNFINISHED, ignore_errors=True)
    JobManifest(
        **{name: getattr(wanted, name) for name in wanted.__struct_fields__ if name != "complete"},
        complete=True,
    ).write(output)


@contextmanager
def _locked(output: Path) -> Iterator[None]:
    """Keep other runs out of an output.

    Raises:
        JobRefused: another run has it, or it is a file.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise JobRefused(f"{output} is a file: name a directory") from None
    with (output / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JobRefused(f"another run writes {output}: wait for its end") from None
        yield


def _choices(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that rows depend on: which graph runs, and where."""
    return {name: settings[name] for name in ("device", "variant") if name in settings}


def _usual_columns(task: str, manifest: Manifest) -> tuple[str, ...]:
    pair = task == "classification" and manifest.pair
    return ("premise", "hypothesis") if pair else ("text",)
