"""Runs the shards of a job on a Ray cluster, with Ray Data.

A Ray Data dataset has one row for each shard, and an actor for each worker. Only the descriptions
of shards pass through Ray: workers read the input and write the output themselves. When a node
dies, Ray starts its actors elsewhere and repeats their shards without end; `ShardWorker` counts the
attempts. A file that was complete before is found, and is not made again.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import ray
import ray.data
from ray.exceptions import RayError

from semserve_server.errors import JobFailed, JobRefused
from semserve_server.ray.shard_worker import ShardReport, ShardWorker, WorkerSettings
from semserve_server.ray.shards import Shard

LOCAL = "local"
OBJECT_STORE_BYTES = 128 << 20
"""Memory of the object store of a Ray that is started here. Descriptions of shards need little."""
MOST_CPUS_OF_A_WORKER = 8
"""Default limit of CPUs for a worker: one Python process can use about this number."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """The workers of a job."""

    workers: int = 0
    """Number of workers; 0 for as many as the cluster has room for."""
    cpus: int = 0
    """CPUs of each worker; 0 for those of the smallest node with CPUs, at most 8."""
    gpus: float = 0.0
    """GPUs of each worker, such as 0.25 for four workers on each GPU; 0 for the CPU."""


@contextmanager
def connected(cluster: str) -> Iterator[None]:
    """Connect to a cluster, or start Ray on this machine, and disconnect at the end.

    Args:
        cluster: `local` to start one, `auto` for the one on this machine, or HOST:PORT.

    Raises:
        JobRefused: there is no such cluster.
        JobFailed: Ray does not start, for example on a machine that other work keeps busy.
    """
    logging.getLogger("ray").setLevel(logging.ERROR)
    local = {
        "include_dashboard": False,
        "object_store_memory": OBJECT_STORE_BYTES,
        "_node_ip_address": "127.0.0.1",
    }
    try:
        ray.init(
            address=cluster,
            log_to_driver=False,
            logging_level=logging.ERROR,
            **(local if cluster == LOCAL else {}),
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise JobRefused(f"--cluster {cluster}: {' '.join(str(error).split())}") from None
    except Exception as error:  # Ray raises it where a raylet does not start in 30 s
        raise JobFailed(f"--cluster {cluster}: {' '.join(str(error).split())}") from error
    try:
        yield
    finally:
        ray.shutdown()


def run_on_ray(
    settings: WorkerSettings, shards: Sequence[Shard], pool: Pool
) -> Iterator[ShardReport]:
    """Yield the report of each shard when it is complete, in any order.

    Raises:
        JobRefused: no node has room for a worker.
        JobFailed: Ray failed.
    """
    pool = fitted(pool, [node["Resources"] for node in ray.nodes() if node["Alive"]], len(shards))
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # it logs each job, and that bars are off
    # One shard for each worker at a time, so that a dead node delays no other shard.
    workers = ray.data.ActorPoolStrategy(size=pool.workers, max_tasks_in_flight_per_actor=1)
    reports = ray.data.from_items(
        [dataclasses.asdict(shard) for shard in shards], override_num_blocks=len(shards)
    ).map_batches(
        RayWorker,
        fn_constructor_args=[_with_cpus(settings, pool)],
        batch_size=1,
        compute=workers,
        num_cpus=pool.cpus,
        num_gpus=pool.gpus or None,
    )
    try:
        for row in reports.iter_rows():
            yield ShardReport(**row)
    except RayError as error:
        raise JobFailed(f"Ray stopped the job: {_last_line(error)}") from None


def fitted(pool: Pool, nodes: Sequence[dict[str, float]], shards: int) -> Pool:
    """Return the workers that a cluster has room for.

    Args:
        pool: the requested workers.
        nodes: resources of each node, as Ray reports them.
        shards: number of shards, which is the largest useful number of workers.

    Raises:
        JobRefused: no node has room for a worker.
    """
    present = [int(node.get("CPU", 0)) for node in nodes if node.get("CPU", 0) >= 1]
    cpus = pool.cpus or min([MOST_CPUS_OF_A_WORKER, *present])
    room = sum(_room(node, cpus, pool.gpus) for node in nodes)
    if not room:
        needs = f"{cpus} CPUs" + (f" and {pool.gpus:g} GPUs" if pool.gpus else "")
        raise JobRefused(f"no node of the cluster has the {needs} of a worker")
    workers = min(pool.workers or room, shards)
    return dataclasses.replace(pool, workers=workers, cpus=cpus)


def _room(node: dict[str, float], cpus: int, gpus: float) -> int:
    fits = int(node.get("CPU", 0) // cpus)
    return min(fits, int(node.get("GPU", 0) / gpus + 1e-6)) if gpus else fits


class RayWorker:
    """A ShardWorker as an actor of Ray Data: batches of one shard in, of one report out."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._worker = ShardWorker(settings)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Process the shard of a batch."""
        shard = Shard(**{name: int(values[0]) for name, values in batch.items()})
        report = dataclasses.asdict(self._worker.process(shard))
        return {name: np.array([value]) for name, value in report.items()}


def _with_cpus(settings: WorkerSettings, pool: Pool) -> WorkerSettings:
    """Give the model one batch worker for each CPU of a worker; on GPUs it chooses itself."""
    if pool.gpus:
        return settings
    given = {"batch_workers": pool.cpus, **settings.model_settings}
    return dataclasses.replace(settings, model_settings=given)


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
