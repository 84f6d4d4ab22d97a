"""Bulk jobs without Ray: planning, manifests, shards that are verified, runs that continue."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as some
from parquet_jobs import MODEL_SETTINGS, TEXTS, new_job, run
from pyarrow import parquet
from semserve_server.errors import JobFailed, JobRefused
from semserve_server.library import open_model
from semserve_server.ray import shards
from semserve_server.ray.job import Job, Runner
from semserve_server.ray.manifest import read_job
from semserve_server.ray.shard_worker import MOST_ATTEMPTS, ShardReport, WorkerSettings, run_here
from semserve_server.ray.sorted_calls import SLICE_TEXTS, slices


@pytest.fixture
def job(tmp_path: Path, tiny_models: Path) -> Job:
    return new_job(tmp_path, tiny_models)


def interrupted(after: int) -> Runner:
    """Return a runner that ends with Ctrl-C after some shards."""

    def runner(settings: WorkerSettings, plan: Sequence[shards.Shard]) -> Iterator[ShardReport]:
        yield from run_here(settings, plan[:after])
        raise KeyboardInterrupt

    return runner


@given(some.lists(some.integers(0, 50)), some.integers(1, 20))
def test_a_plan_has_each_row_once_and_in_order(rows: list[int], most: int) -> None:
    plan = shards.plan(rows, most)
    assert list(range(len(plan))) == [shard.number for shard in plan]
    planned = [(one.file, one.first + at) for one in plan for at in range(one.rows)]
    assert [(file, at) for file, total in enumerate(rows) for at in range(total)] == planned
    assert list(range(sum(rows))) == [one.begin + at for one in plan for at in range(one.rows)]
    assert all(1 <= shard.rows <= most for shard in plan)


@given(some.lists(some.integers(0, 30)))
def test_slices_have_each_row_once_and_the_longest_first(lengths: list[int]) -> None:
    block = [("x" * length,) for length in lengths]
    rows = [row for part in slices(block) for row in part]
    assert list(range(len(block))) == sorted(rows)
    assert sorted(lengths, reverse=True) == [lengths[row] for row in rows]


def test_slices_are_bounded_by_texts_and_by_characters() -> None:
    assert [SLICE_TEXTS, 6] == [len(part) for part in slices([("x",)] * (SLICE_TEXTS + 6))]
    assert [1, 1, 1] == [len(part) for part in slices([("x" * 300_000,)] * 3)]


def test_a_job_has_the_vector_of_each_text_in_order(job: Job) -> None:
    assert 100 == run(job).computed_rows
    table = parquet.read_table(job.output)
    assert list(range(100)) == table["row"].to_pylist()
    assert [f"id-{at}" for at in range(100)] == table["id"].to_pylist()
    with open_model(job.bundle, **MODEL_SETTINGS) as model:
        alone = model.embed(TEXTS)
    np.testing.assert_allclose(alone, np.stack(table["vector"].to_numpy()), atol=1e-5)
    manifest = read_job(job.output)
    assert manifest is not None
    assert manifest.complete


def test_a_job_classifies_pairs_and_takes_the_columns_by_name(job: Job, tiny_models: Path) -> None:
    table = pa.table({"left": TEXTS, "right": TEXTS[::-1]})
    source = job.source / "pairs.parquet"
    parquet.write_table(table, source)
    job = dataclasses.replace(
        job, task="classification", bundle=tiny_models / "tiny-nli", source=source, keep=()
    )
    with pytest.raises(JobRefused, match="there is no column 'premise'; the columns are left, ri"):
        run(job)
    run(dataclasses.replace(job, columns=("left", "right")))
    table = parquet.read_table(job.output)
    with open_model(job.bundle, **MODEL_SETTINGS) as model:
        alone = model.classify(list(zip(TEXTS, TEXTS[::-1], strict=True)))
    assert list(alone.labels) == table["label"].to_pylist()
    scores = np.stack([table[f"scores_{name}"].to_numpy() for name in alone.classes], axis=1)
    np.testing.assert_allclose(alone.scores, scores, atol=1e-5)


def test_an_interrupted_job_continues_and_does_no_shard_again(job: Job) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(job, interrupted(after=4))
    before = {path.name: path.stat().st_mtime_ns for path in job.output.glob("part-*")}
    assert 4 == len(before)
    assert (4, 60) == ((done := run(job)).kept_shards, done.computed_rows)
    after = {path.name: path.stat().st_mtime_ns for path in job.output.glob("part-*")}
    assert before == {name: after[name] for name in before}
    assert list(range(100)) == parquet.read_table(job.output)["row"].to_pylist()
    assert 10 == run(job).kept_shards


@pytest.mark.parametrize("damage", ["flip", "cut", "delete", "swap"])
def test_a_damaged_shard_is_made_again(job: Job, damage: str) -> None:
    run(job)
    path, other = job.output / "part-00003.parquet", job.output / "part-00004.parquet"
    content = path.read_bytes()
    if damage == "flip":
        path.write_bytes(content[:200] + bytes([content[200] ^ 1]) + content[201:])
    elif damage == "cut":
        path.write_bytes(content[:-20])
    elif damage == "delete":
        path.unlink()
    else:
        path.write_bytes(other.read_bytes())
    done = run(job)
    assert (9, 10) == (done.kept_shards, done.computed_rows)
    assert list(range(100)) == parquet.read_table(job.output)["row"].to_pylist()


def test_changed_input_is_refused_by_name(job: Job) -> None:
    run(job)
    changed = job.source / "more" / "b.parquet"
    parquet.write_table(pa.table({"id": ["x"], "text": ["cat"]}), changed)
    with pytest.raises(JobRefused, match=r"^more/b\.parquet has changed since .*output was begun"):
        run(job)
    changed.unlink()
    with pytest.raises(JobRefused, match=r"^more/b\.parquet is missing since"):
        run(job)
    assert 60 == run(dataclasses.replace(job, overwrite=True)).rows
    assert 6 == len(list(job.output.glob("part-*")))


@pytest.mark.parametrize(("change", "said"), [
    ({"shard_rows": 20}, "shard_rows 10, and it is 20 now"),
    ({"keep": ()}, r'keep \["id"\], and it is \[\] now'),
    ({"options": {"dimensions": 3}}, 'options .*and it is {"dimensions":3,'),
])  # fmt: skip
def test_another_job_does_not_continue_an_output(
    job: Job, change: dict[str, object], said: str
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(job, interrupted(after=1))
    with pytest.raises(JobRefused, match=f"was begun with {said}"):
        run(dataclasses.replace(job, **change))  # type: ignore[arg-type]


def test_input_that_changes_during_the_job_is_noticed_at_the_end(job: Job) -> None:
    def runner(settings: WorkerSettings, plan: Sequence[shards.Shard]) -> Iterator[ShardReport]:
        yield from run_here(settings, plan)
        source = job.source / "a.parquet"
        source.write_bytes(source.read_bytes())

    with pytest.raises(JobFailed, match=r"a\.parquet has changed while the job ran"):
        run(job, runner)


def test_shards_that_are_lost_or_reported_twice_are_noticed(job: Job) -> None:
    def loses(settings: WorkerSettings, plan: Sequence[shards.Shard]) -> Iterator[ShardReport]:
        yield from run_here(settings, plan[1:])

    def doubles(settings: WorkerSettings, plan: Sequence[shards.Shard]) -> Iterator[ShardReport]:
        yield from run_here(settings, [*plan, *plan])

    with pytest.raises(JobFailed, match=r"^1 shards have no result"):
        run(job, loses)
    assert (100, 10) == ((done := run(job, doubles)).done_rows, done.done_shards)


def test_an_invalid_text_stops_the_job_with_its_row_or_leaves_its_result_empty(job: Job) -> None:
    source = job.source / "bad.parquet"
    ids = [str(at) for at in range(5)]
    parquet.write_table(pa.table({"id": ids, "text": ["a", None, "cat", "", "dog"]}), source)
    job = dataclasses.replace(job, source=source)
    with pytest.raises(JobFailed, match=r"bad\.parquet: row 1: is of type NoneType, not str; pass"):
        run(job)
    assert 2 == run(dataclasses.replace(job, allow_partial=True)).failed_rows
    table = parquet.read_table(job.output)
    assert [False, True, False, True, False] == table["vector"].is_null().to_pylist()
    assert ["is of type NoneType, not str", "is empty"] == table["error"].drop_null().to_pylist()


def test_a_worker_that_dies_again_and_again_ends_the_job(job: Job) -> None:
    def dies(settings: WorkerSettings, plan: Sequence[shards.Shard]) -> Iterator[ShardReport]:
        folder = settings.output / "_unfinished"
        folder.mkdir()
        (folder / "00000.attempts").write_bytes(b"." * MOST_ATTEMPTS)
        yield from run_here(settings, plan)

    with pytest.raises(JobFailed, match=rf"rows 0 to 9: the worker died {MOST_ATTEMPTS} times"):
        run(job, dies)
    assert 100 == run(job).rows
