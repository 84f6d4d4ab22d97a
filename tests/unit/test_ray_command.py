"""What the command `semserve-ray` refuses, and what it prints, without Ray."""

from __future__ import annotations

import dataclasses
import fcntl
import re
import shlex
import subprocess
import sys
from pathlib import Path

import cyclopts
import pyarrow as pa
import pytest
from conftest import ROOT
from parquet_jobs import new_job, run
from pyarrow import parquet
from semserve_server.errors import JobRefused
from semserve_server.ray.__main__ import app
from semserve_server.ray.job import Job


@pytest.fixture
def job(tmp_path: Path, tiny_models: Path) -> Job:
    return new_job(tmp_path, tiny_models)


def test_an_output_is_written_by_one_run_at_a_time(job: Job) -> None:
    job.output.mkdir()
    with (job.output / "_job.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(JobRefused, match="another run writes"):
            run(job)


def test_an_output_with_other_files_is_refused(job: Job) -> None:
    job.output.mkdir()
    (job.output / "part-00000.parquet").write_bytes(b"mine")
    with pytest.raises(JobRefused, match=r"holds part-00000\.parquet, which is not of this job"):
        run(job)


@pytest.mark.parametrize(("change", "said"), [
    ({"source": Path("s3://bucket/x")}, "is an address: mount it"),
    ({"output": Path("gs://bucket/x")}, "is an address: mount it"),
    ({"source": Path("absent.parquet")}, "does not exist"),
    ({"columns": ("id", "text")}, "takes one column of texts, but 2 are named"),
    ({"columns": ("number",)}, "there is no column 'number'"),
    ({"keep": ("vector",)}, "--keep vector: the output has a column of this name"),
    ({"options": {"dimensions": 99}}, "dimensions 99: model tiny-embed has 16"),
    ({"task": "classification"}, "model tiny-embed is for embedding, not for classification"),
])  # fmt: skip
def test_what_cannot_work_is_refused(job: Job, change: dict[str, object], said: str) -> None:
    with pytest.raises(JobRefused, match=said):
        run(dataclasses.replace(job, **change))  # type: ignore[arg-type]
    assert not list(job.output.glob("*"))


def test_columns_of_other_types_are_refused(job: Job) -> None:
    other = job.source / "c.parquet"
    parquet.write_table(pa.table({"id": [1], "text": ["cat"]}), other)
    with pytest.raises(JobRefused, match=r"c\.parquet: column 'id' is int64, but it is string in"):
        run(job)
    job = dataclasses.replace(job, source=other, columns=("id",), keep=())
    with pytest.raises(JobRefused, match="column 'id' is int64, not string"):
        run(job)


def test_an_output_inside_of_its_input_is_refused(job: Job) -> None:
    with pytest.raises(JobRefused, match="is inside of the input"):
        run(dataclasses.replace(job, output=job.source / "output"))


def command(job: Job, *more: str) -> subprocess.CompletedProcess[str]:
    """Run `semserve-ray embed`."""
    words = ("embed", job.source, "--model", job.bundle, "--to", job.output, *more)
    return subprocess.run(
        [sys.executable, "-m", "semserve_server.ray", *words],
        capture_output=True, text=True, timeout=60, check=False,
        env={"XDG_CACHE_HOME": str(job.output.parent)},
    )  # fmt: skip


def test_the_command_runs_without_ray_in_one_process(job: Job) -> None:
    done = command(job, "--cluster", "none", "--shard-rows", "50")
    lines = done.stderr.splitlines()  # a slow machine reports its progress every five seconds
    assert (0, []) == (done.returncode, [line for line in lines if "of 3 shards, " not in line])
    reported = "100 rows in 3 files; computed now: 100 rows, by portable on CPUExecutionProvider, "
    assert done.stdout.startswith(f"{job.output}: {reported}")
    again = command(job, "--cluster", "none", "--shard-rows", "60")
    assert 2 == again.returncode
    assert "was begun with shard_rows 50, and it is 60 now" in again.stderr
    assert 1 == len(again.stderr.splitlines())


def test_without_ray_the_command_says_what_to_install(job: Job) -> None:
    reported = "semserve-ray: ray is not installed: pip install 'semserve-server[cpu,ray]'\n"
    assert (2, reported) == ((done := command(job)).returncode, done.stderr)


def test_a_part_of_a_gpu_beside_whole_ones_is_refused(job: Job) -> None:
    done = command(job, "--worker-gpus", "1.5")
    line = "semserve-ray: --worker-gpus 1.5: above 1, Ray takes whole numbers alone\n"
    assert (2, line) == (done.returncode, done.stderr)


DOCUMENTED = re.findall(
    r"^semserve-ray .*$", (ROOT / "docs" / "scale.md").read_text(), re.MULTILINE
)


@pytest.mark.parametrize("line", DOCUMENTED)
def test_the_documented_commands_are_valid(line: str) -> None:
    app.parse_args(shlex.split(line)[1:], exit_on_error=False, print_error=False)


@pytest.mark.parametrize("flag", ["--shard-rows", "--dimensions", "--workers"])
def test_a_fraction_is_refused_for_a_whole_number(flag: str) -> None:
    words = ["embed", "texts.parquet", "--model", "m", "--to", "vectors", flag, "1.5"]
    with pytest.raises(cyclopts.CoercionError, match=f'{flag}: unable to convert "1.5" into int'):
        app.parse_args(words, exit_on_error=False, print_error=False)


def test_a_job_has_a_bounded_number_of_shards(job: Job) -> None:
    source = job.source / "many.parquet"
    parquet.write_table(pa.table({"text": ["cat"] * 100_001}), source)
    with pytest.raises(JobRefused, match="has 100001 shards, at most 100000: raise --shard-rows"):
        run(dataclasses.replace(job, source=source, keep=(), shard_rows=1))
