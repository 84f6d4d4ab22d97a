"""Bulk jobs over the tiny bundles, for tests without Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
from conftest import CALIBRATIONS
from pyarrow import parquet
from semserve_server.ray.job import Job, JobProgress, Runner, run_job
from semserve_server.ray.shard_worker import run_here

WORDS = ("the", "cat", "sat", "on", "a", "mat", "dog")
TEXTS = [" ".join(WORDS[: 1 + at % 7]) for at in range(100)]
MODEL_SETTINGS: dict[str, Any] = {
    "device": "cpu", "variant": "portable", "batch_workers": 1, "intra_op_threads": 1,
    "calibration_cache": CALIBRATIONS,
}  # fmt: skip
"""With one thread a model is measured by processor time, which is short on a busy machine too."""


def new_job(folder: Path, models: Path) -> Job:
    """Make a job of ten shards over two files, of which one is in a directory below."""
    source = folder / "input"
    (source / "more").mkdir(parents=True)
    ids = [f"id-{at}" for at in range(100)]
    table = pa.table({"id": ids, "text": TEXTS})
    parquet.write_table(table.slice(0, 60), source / "a.parquet", row_group_size=7)
    parquet.write_table(table.slice(60), source / "more" / "b.parquet")
    return Job(
        task="embedding",
        bundle=models / "tiny-embed",
        source=source,
        output=folder / "output",
        keep=("id",),
        shard_rows=10,
        model_settings=MODEL_SETTINGS,
    )


def run(job: Job, runner: Runner = run_here) -> JobProgress:
    """Run a job in this process."""
    return run_job(job, runner, lambda _: None)
