"""Runs the shards of a job in this process, without Ray."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

from semserve_server.ray.shard_worker import ShardReport, ShardWorker, WorkerSettings
from semserve_server.ray.shards import Shard


def run_here(settings: WorkerSettings, shards: Sequence[Shard]) -> Iterator[ShardReport]:
    """Yield the report of each shard when it is complete."""
    with closing(ShardWorker(settings)) as worker:
        for shard in shards:
            yield worker.process(shard)
