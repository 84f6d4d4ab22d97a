"""Runs the shards of a job in this process, without Ray."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from semserve_server.ray.shard_worker import ShardReport, ShardWorker, WorkerSettings
from semserve_server.ray.shards import Shard


def run_here(settings: WorkerSettings, shards: Sequence[Shard]) -> Iterator[ShardReport]:
    """Yield the report of each shard when it is complete."""
    worker = ShardWorker(settings)
    for shard in shards:
        yield worker.process(shard)
