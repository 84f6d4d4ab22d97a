# ruff: noqa: D417 - shared flags tell about themselves
"""The command `semserve-ray`: bulk jobs over Parquet files."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any, Literal

import cyclopts
from cyclopts import Group, Parameter
from cyclopts.validators import Number

from semserve_server import __version__
from semserve_server.errors import JobFailed, JobRefused, StartupError
from semserve_server.observability.stderr import write_line
from semserve_server.system.whole_numbers import refuse_fractions

if TYPE_CHECKING:
    from semserve_server.ray.job import JobProgress, Runner

SECONDS_BETWEEN_LINES = 5.0
"""Least seconds between two lines about the progress."""
INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + SIGINT."""
NO_CLUSTER = "none"
JOB = Group("Job", sort_key=0)
WORKERS = Group("Workers", sort_key=1)

app = cyclopts.App(
    name="semserve-ray",
    help="Embed or classify the rows of Parquet files on a Ray cluster.",
    help_epilogue=(
        "The same command continues a job that was interrupted. The bundle, the input and the "
        "output must have the same paths on every node.\n\n"
        "Exit codes: 0, the output is complete; 1, the job failed; 2, wrong usage; "
        "130, interrupted."
    ),
    version=__version__,
    config=refuse_fractions,
)


@Parameter(name="*", group=JOB)
@dataclass(frozen=True, slots=True, kw_only=True)
class JobFlags:
    """The flags of every job."""

    model: Path
    "Directory of the bundle."
    to: Path
    "Directory of the output: one Parquet file for each shard."
    column: Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)] = ()
    "Column of the texts; twice for pairs. By default text, or premise and hypothesis."
    keep: Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)] = ()
    "Column of the input that the output has too, such as an id. Repeat the flag for more."
    shard_rows: Annotated[int, Parameter(validator=Number(gte=1, lte=1_000_000))] = 65_536
    "Most rows of a shard: what is computed again if its worker dies."
    allow_partial: Annotated[bool, Parameter(negative=())] = False
    "Leave the result of an invalid text empty, with the reason in the column error."
    overwrite: Annotated[bool, Parameter(negative=())] = False
    "Replace an older output, in place of continuing it."
    truncation: Literal["end", "start", "none"] | None = None
    "Where too long texts are cut; none refuses them. By default the model's rule."
    variant: Literal["auto", "portable", "fused", "fp16", "int8"] = "auto"
    "Graph of the bundle to run, as of semserve-server."
    max_batch_tokens: Annotated[int, Parameter(validator=Number(gte=0, lte=10_000_000))] = 0
    "Most tokens of a batch. 0: measured, the largest that still raises the throughput."


@Parameter(name="*", group=WORKERS)
@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFlags:
    """The flags of the workers."""

    cluster: str = "local"
    """Ray cluster: HOST:PORT, auto for the one on this machine, local to start one for this job,
    none for this process alone, without Ray."""
    workers: Annotated[int, Parameter(validator=Number(gte=0, lte=100_000))] = 0
    "Number of workers. 0: as many as the cluster has room for now."
    worker_cpus: Annotated[int, Parameter(validator=Number(gte=0, lte=256))] = 0
    "CPUs of each worker. 0: those of the smallest node, at most 8."
    worker_gpus: Annotated[float, Parameter(validator=Number(gte=0, lte=16))] = 0.0
    "GPUs of each worker: 0.25 runs four workers on each GPU. 0: on the CPU."


DEFAULT_WORKERS = WorkerFlags()


@app.command
def embed(
    source: Path,
    /,
    *,
    flags: JobFlags,
    normalize: bool | None = None,
    dimensions: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    prompt_name: str | None = None,
    side: Literal["left", "right"] | None = None,
    workers: WorkerFlags = DEFAULT_WORKERS,
) -> int:
    """Convert a column of texts to vectors.

    Args:
        source: Parquet file, or a directory of Parquet files.
        normalize: Scale vectors to unit length, or not; the default depends on the model.
        dimensions: Keep only this many dimensions.
        prompt_name: Name of the prompt to put before each text; '' for none. By default the
            model's.
        side: Encoder for the texts, of a model with one for each side.
    """
    options = {
        "normalize": normalize, "dimensions": dimensions, "prompt_name": prompt_name, "side": side,
    }  # fmt: skip
    return _run("embedding", source, flags, workers, options)


@app.command
def classify(source: Path, /, *, flags: JobFlags, workers: WorkerFlags = DEFAULT_WORKERS) -> int:
    """Classify texts, or pairs of a premise and a hypothesis.

    Args:
        source: Parquet file, or a directory of Parquet files.
    """
    return _run("classification", source, flags, workers, {})


def _run(
    task: str, source: Path, flags: JobFlags, workers: WorkerFlags, options: dict[str, Any]
) -> int:
    """Run a job on the cluster that the flags name, and print what it did."""
    from semserve_server.ray.job import Job, run_job

    alone = workers.cluster == NO_CLUSTER
    if alone and workers.workers:
        raise JobRefused("--workers goes with a cluster: without one, this process is the worker")
    if workers.worker_gpus > 1 and not workers.worker_gpus.is_integer():
        raise JobRefused(
            f"--worker-gpus {workers.worker_gpus}: above 1, Ray takes whole numbers alone"
        )
    cpus = {"batch_workers": workers.worker_cpus} if alone and workers.worker_cpus else {}
    job = Job(
        task=task,
        bundle=flags.model,
        source=source,
        output=flags.to,
        columns=flags.column,
        keep=flags.keep,
        options={**options, "truncation": flags.truncation},
        shard_rows=flags.shard_rows,
        allow_partial=flags.allow_partial,
        overwrite=flags.overwrite,
        model_settings={
            "device": "cuda" if workers.worker_gpus else "cpu",
            "variant": flags.variant,
            "max_batch_tokens": flags.max_batch_tokens,
            **cpus,
        },
    )
    lines = _ProgressLines(flags.to)
    if alone:
        from semserve_server.ray.shard_worker import run_here

        done = run_job(job, run_here, lines.show)
    else:
        done = _run_on_cluster(job, workers, lines)
    print(f"{flags.to}: {done.rows} rows in {done.shards} files{_details(done)}{lines.rate(done)}")
    return 0


def _details(done: JobProgress) -> str:
    """Return what a complete job did, as the middle of a line."""
    kept = f", of which {done.kept_shards} were complete before" if done.kept_shards else ""
    ran = f"; computed now: {done.computed_rows} rows" if done.computed_rows else ""
    failed = f", {done.failed_rows} of them without a result" if done.failed_rows else ""
    graphs = f", by {' and '.join(sorted(done.variants))}" if done.variants else ""
    return f"{kept}{ran}{failed}{graphs}"


def _run_on_cluster(job: Any, workers: WorkerFlags, lines: _ProgressLines) -> JobProgress:
    from semserve_server.ray.cluster import Pool, connected, run_on_ray
    from semserve_server.ray.job import run_job

    pool = Pool(workers=workers.workers, cpus=workers.worker_cpus, gpus=workers.worker_gpus)
    runner: Runner = lambda settings, shards: run_on_ray(settings, shards, pool)  # noqa: E731
    with connected(workers.cluster):
        return run_job(job, runner, lines.show)


class _ProgressLines:
    """Prints how far a job is on standard error."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self._begun = self._last = monotonic()

    def show(self, progress: JobProgress) -> None:
        """Print a line, if the last one is old enough."""
        now = monotonic()
        if not progress.done_shards:
            self._begun = self._last = now
        elif now - self._last >= SECONDS_BETWEEN_LINES:
            self._last = now
            write_line(
                f"semserve-ray: {self._output}: {progress.done_shards} of {progress.shards} "
                f"shards, {progress.done_rows} of {progress.rows} rows{self.rate(progress)}"
            )

    def rate(self, progress: JobProgress) -> str:
        """Return the rows a second of this run, as the end of a line."""
        seconds = monotonic() - self._begun
        if not progress.computed_rows or seconds <= 0:
            return ""
        return f", {progress.computed_rows / seconds:.0f} rows/s"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command. A failure is one line on standard error."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report its use to its makers
    try:
        sys.exit(app(sys.argv[1:] if arguments is None else arguments, exit_on_error=False))
    except cyclopts.CycloptsError:
        sys.exit(2)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"ray", "pyarrow"}:
            raise
        write_line(
            f"semserve-ray: {error.name} is not installed: pip install 'semserve-server[cpu,ray]'"
        )
        sys.exit(2)
    except (StartupError, JobRefused) as error:
        write_line(f"semserve-ray: {' '.join(str(error).split())}")
        sys.exit(2)
    except (JobFailed, OSError) as error:
        write_line(f"semserve-ray: {' '.join(str(error).split())}")
        sys.exit(1)
    except KeyboardInterrupt:
        write_line("semserve-ray: interrupted; the same command continues the job")
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
