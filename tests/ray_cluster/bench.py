"""Times a job in one process and on two raylets of which one is killed, and compares the rows.

.tools/ray/bin/python tests/ray_cluster/bench.py INPUT.parquet --model models/nli-bert-tiny
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from pyarrow import parquet
from ray.cluster_utils import Cluster
from semserve_server.ray.cluster import Pool, connected, run_on_ray
from semserve_server.ray.job import Job, JobProgress, run_job
from semserve_server.ray.shard_worker import ShardReport, WorkerSettings, run_here
from semserve_server.ray.shards import Shard
from semserve_server.repository.manifest import read_manifest

NODE = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}


class Clock:
    """The time of each shard, for a rate without the start of Ray and of workers."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.points: list[tuple[float, int]] = []

    def show(self, progress: JobProgress) -> None:
        """Note that a shard is complete."""
        if progress.done_shards:
            self.points.append((time.monotonic() - self.begun, progress.done_rows))

    def steady(self) -> str:
        """Describe the rate between the first shard and the last one so far."""
        (first, before), (last, rows) = self.points[0], self.points[-1]
        return f"{(rows - before) / (last - first):.0f} rows/s after the first shard"


def timed(name: str, job: Job, *, kill: bool | None = None) -> float:
    """Run a job, print its rate, and return it in rows a second.

    Args:
        name: what is timed.
        job: the job.
        kill: whether to kill one of two raylets in the middle; None for this process, without Ray.
    """
    clock = Clock()
    if kill is None:
        run_job(job, run_here, clock.show)
    else:
        on_two_raylets(job, clock, kill=kill)
    total = time.monotonic() - clock.begun
    rows = clock.points[-1][1]
    print(
        f"{name}: {rows} rows in {total:.1f} s, {rows / total:.0f} rows/s; "
        f"first shard after {clock.points[0][0]:.1f} s; {clock.steady()}",
        flush=True,
    )
    return rows / total


def on_two_raylets(job: Job, clock: Clock, *, kill: bool) -> None:
    """Run a job on a new cluster of two raylets with one CPU each; kill one in the middle."""
    cluster = Cluster(initialize_head=True, head_node_args=NODE)
    other = cluster.add_node(**NODE)

    def runner(settings: WorkerSettings, shards: Sequence[Shard]) -> Iterator[ShardReport]:
        return run_on_ray(settings, shards, Pool(cpus=1))

    def each(progress: JobProgress) -> None:
        clock.show(progress)
        if kill and other in cluster.worker_nodes and progress.done_rows * 2 >= progress.rows:
            seconds, rows = clock.points[-1]
            print(
                f"  one killed after {rows} rows and {seconds:.1f} s: {clock.steady()}", flush=True
            )
            cluster.remove_node(other, allow_graceful=False)

    try:
        with connected(cluster.address):
            run_job(job, runner, each)
    finally:
        cluster.shutdown()


def difference(one: Path, other: Path) -> str:
    """Describe how two outputs differ."""
    left, right = parquet.read_table(one), parquet.read_table(other)
    order = left["row"].equals(right["row"])
    output = [f"rows {'equal' if order else 'DIFFERENT'}"]
    for name in left.column_names:
        if name == "vector" or name.startswith("scores_"):
            columns = [np.stack(table[name].to_numpy()) for table in (left, right)]
            output.append(f"{name} within {np.abs(columns[0] - columns[1]).max():.1e}")
        elif name != "row":
            equal = sum(
                a == b for a, b in zip(left[name].to_pylist(), right[name].to_pylist(), strict=True)
            )
            output.append(f"{name} {equal} of {len(left)} equal")
    return ", ".join(output)


def main() -> None:
    """Print the rates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("input", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--shard-rows", type=int, default=8192)
    given = parser.parse_args()
    task = read_manifest(given.model)[0].task
    with tempfile.TemporaryDirectory() as folder:
        one, two = Path(folder) / "one", Path(folder) / "two"
        job = Job(
            task=task, bundle=given.model, source=given.input, output=one,
            shard_rows=given.shard_rows, model_settings={"device": "cpu"},
        )  # fmt: skip
        alone = timed("one process", job)
        killed = dataclasses.replace(job, output=two)
        rate = timed("two raylets, one killed", killed, kill=True)
        print(f"{rate / alone:.2f} times the rows/s of one process; {difference(one, two)}")


if __name__ == "__main__":
    main()
