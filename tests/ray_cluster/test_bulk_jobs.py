"""Bulk jobs on real clusters of several raylets, of which one is killed."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

ray = pytest.importorskip("ray", reason="Ray is not there: `make test-ray`")

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
from pyarrow import parquet  # noqa: E402
from semserve_server.errors import JobRefused  # noqa: E402
from semserve_server.library import open_model  # noqa: E402
from semserve_server.ray.batches import ClassifyTexts, EmbedTexts  # noqa: E402
from semserve_server.ray.cluster import Pool, connected, fitted, run_on_ray  # noqa: E402
from semserve_server.ray.job import Job, JobProgress, run_job  # noqa: E402
from semserve_server.ray.shard_worker import (  # noqa: E402
    ShardReport,
    WorkerSettings,
    run_here,
)
from semserve_server.ray.shards import Shard  # noqa: E402

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster

BUNDLES = Path(__file__).parents[1] / "bundles"
ROWS, SHARD_ROWS = 60_000, 3000
WORDS = ("the", "cat", "sat", "on", "a", "mat", "dog")


def text(at: int) -> str:
    """Return one of many texts of one to seven words."""
    return " ".join(WORDS[(at + step * at // 7) % 7] for step in range(1 + at % 7))


@pytest.fixture
def job(tmp_path: Path) -> Job:
    source = tmp_path / "input.parquet"
    texts = [text(at) for at in range(ROWS)]
    parquet.write_table(pa.table({"id": range(ROWS), "text": texts}), source)
    return Job(
        task="embedding", bundle=BUNDLES / "tiny-embed", source=source, output=tmp_path / "output",
        keep=("id",), shard_rows=SHARD_ROWS, model_settings={"device": "cpu"},
    )  # fmt: skip


def on_ray(settings: WorkerSettings, shards: Sequence[Shard]) -> Iterator[ShardReport]:
    return run_on_ray(settings, shards, Pool(cpus=1))


def begun(job: Job) -> set[int]:
    """Return the shards that a worker has begun in this run."""
    return {int(path.stem) for path in (job.output / "_unfinished").glob("*.attempts")}


def test_a_raylet_that_is_killed_loses_and_doubles_nothing(cluster: Cluster, job: Job) -> None:
    (other,) = cluster.worker_nodes
    in_progress: set[int] = set()

    def kill(progress: JobProgress) -> None:
        started = begun(job)
        complete = {int(path.stem[5:]) for path in job.output.glob("part-*.parquet")}
        if other in cluster.worker_nodes and progress.done_shards >= 4:
            in_progress.update(started - complete)
            if in_progress:  # between two shards, a raylet has nothing to lose
                cluster.remove_node(other, allow_graceful=False)

    with connected(cluster.address):
        done = run_job(job, on_ray, kill)
    assert in_progress, "no shard was in progress when the raylet was killed"
    assert (ROWS, 20) == (done.done_rows, done.done_shards)
    table = parquet.read_table(job.output)
    assert list(range(ROWS)) == table["row"].to_pylist() == table["id"].to_pylist()
    single = dataclasses.replace(job, output=job.output.with_name("single"))
    run_job(single, run_here, lambda _: None)
    alone = parquet.read_table(single.output)
    np.testing.assert_allclose(
        np.stack(alone["vector"].to_numpy()), np.stack(table["vector"].to_numpy()), atol=1e-5
    )


def test_map_batches_keeps_the_order_within_tables(cluster: Cluster) -> None:
    texts = [text(at) for at in range(500)]
    pairs = {"premise": texts, "hypothesis": texts[::-1]}
    options: dict[str, Any] = {
        "batch_format": "pyarrow", "batch_size": 100, "num_cpus": 1,
        "compute": ray.data.ActorPoolStrategy(size=1),
    }  # fmt: skip
    settings = {"device": "cpu", "batch_workers": 1}
    with connected(cluster.address):
        table = pa.table({"text": texts})
        embedded = ray.data.from_arrow(table).map_batches(
            EmbedTexts,
            fn_constructor_kwargs={"bundle": BUNDLES / "tiny-embed", **settings},
            **options,
        ).take_all()  # fmt: skip
        classified = ray.data.from_arrow(pa.table(pairs)).map_batches(
            ClassifyTexts,
            fn_constructor_kwargs={"bundle": BUNDLES / "tiny-nli", **settings},
            **options,
        ).take_all()  # fmt: skip
    with open_model(BUNDLES / "tiny-embed", device="cpu") as model:
        alone = {one: model.embed([one])[0] for one in sorted({*texts})}
    assert sorted(texts) == sorted(row["text"] for row in embedded)
    for row in embedded:
        np.testing.assert_allclose(alone[row["text"]], row["vector"], atol=1e-5)
    with open_model(BUNDLES / "tiny-nli", device="cpu") as model:
        given = [(row["premise"], row["hypothesis"]) for row in classified]
        labels = model.classify(given).labels
    assert list(labels) == [row["label"] for row in classified]


def test_the_command_starts_ray_continues_a_job_and_names_an_invalid_row(tmp_path: Path) -> None:
    source, output = tmp_path / "input.parquet", tmp_path / "output"
    parquet.write_table(pa.table({"text": ["cat", "dog", "", "mat"]}), source)
    command = (
        sys.executable, "-m", "semserve_server.ray", "embed", source, "--to", output,
        "--model", BUNDLES / "tiny-embed", "--shard-rows", "1", "--workers", "1",
    )  # fmt: skip

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *more], capture_output=True, text=True, timeout=100, check=False
        )

    stopped = run()
    assert 1 == stopped.returncode
    line = (
        f"semserve-ray: {source}: row 2: is empty; pass --allow-partial to leave its result empty"
    )
    assert line == stopped.stderr.splitlines()[-1]
    done = run("--allow-partial")
    assert 0 == done.returncode, done.stderr
    assert re.match(
        rf"{output}: 4 rows in 4 files.*; computed now: \d rows, 1 of them without a result",
        done.stdout,
    )
    assert [False, False, True, False] == (
        parquet.read_table(output)["vector"].is_null().to_pylist()
    )


def test_workers_fit_the_nodes_of_the_cluster() -> None:
    nodes = [{"CPU": 0.0}, {"CPU": 16.0}, {"CPU": 4.0, "GPU": 1.0}]
    assert Pool(workers=5, cpus=4) == fitted(Pool(), nodes, shards=100)
    assert Pool(workers=2, cpus=4) == fitted(Pool(), nodes, shards=2)
    assert Pool(workers=3, cpus=4) == fitted(Pool(workers=3), nodes, shards=100)
    assert Pool(workers=4, cpus=1, gpus=0.25) == fitted(Pool(cpus=1, gpus=0.25), nodes, shards=100)
    with pytest.raises(JobRefused, match="no node of the cluster has the 32 CPUs of a worker"):
        fitted(Pool(cpus=32), nodes, shards=100)
