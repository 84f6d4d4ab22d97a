"""The harness itself, once through every part with tiny models: that it runs, not how fast."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from conftest import ROOT, TINY
from known_calibrations import XDG_CACHE_HOME

from load.client import drive
from load.figure import Figure, ratio
from load.load import Load
from load.parts import PARTS
from load.process import running
from load.record import OK, SHED, UNFINISHED, LoadError, Record
from load.settings import Settings
from load.texts import read_texts


def site_packages() -> Path:
    """Return the directory of this environment's grpcio, which stands in for a newer one."""
    return Path(grpc.__file__).parents[1]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "parts",
    [
        pytest.param(("overload", "depth"), id="two parts"),
        pytest.param(tuple(PARTS), id="every part", marks=pytest.mark.slow),  # `make test-long`
    ],
)
def test_a_part_runs_and_is_written_down(tmp_path: Path, parts: tuple[str, ...]) -> None:
    only = [word for part in parts for word in ("--only", part)]
    ran = subprocess.run(
        [sys.executable, "-m", "load", "--models", TINY, "--embedder", "tiny-embed",
         "--classifier", TINY / "tiny-nli", "--seconds", "0.15", "--warm-up", "0.05",
         "--rounds", "1", "--depths", "1", "--depths", "16", "--text-count", "64",
         "--texts", tmp_path, "--tei", tmp_path / "none", "--mlserver", tmp_path,
         "--grpcio", site_packages(),
         "--results", tmp_path, *only],
        cwd=ROOT, env={"PYTHONPATH": str(ROOT / "tests"), "XDG_CACHE_HOME": XDG_CACHE_HOME},
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert 0 == ran.returncode, ran.stdout + ran.stderr
    assert "Traceback" not in ran.stdout + ran.stderr
    written = json.loads((tmp_path / "bench.json").read_text())
    assert all(run["texts_per_second"] > 0 for run in written["runs"] if run["part"] != "overload")
    measured = {"front-end", "grpcio", "overload", "depth"} & {*parts}
    assert measured <= {run["part"] for run in written["runs"]}
    assert len(parts) <= len(written["figures"])
    assert "| figure | value | bar |" in (tmp_path / "bench.md").read_text()
    if "serving" in parts:
        skipped = {one["skipped"] for one in written["figures"] if one["verdict"] == "SKIP"}
        assert {"text-embeddings-inference", "MLServer"} <= {why.split()[0] for why in skipped}
        assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


def record(begun: list[float], ended: list[float], status: list[int], **how: Any) -> Record:
    """Make a record with a window of two seconds."""
    fields = {"texts_per_request": 1, "callers": 1, "seconds": 2.0} | how
    load = Load(address="", group=0, method="", requests=(), answer_bytes=0, **fields)
    return Record(
        load=load, begun=np.array(begun), ended=np.array(ended),
        status=np.array(status, np.int16), timing=np.empty((0, 4)), client_cpu=0, server_cpu=0,
    )  # fmt: skip


def test_a_closed_loop_counts_what_ends_in_the_window() -> None:
    seen = record([-0.5, 0.5, 1.5], [0.5, 1.5, 2.5], [OK, OK, OK])
    assert 1.0 == seen.texts_per_second
    assert [1.0, 1.0] == seen.latencies().tolist()


def test_an_open_loop_counts_what_was_due_in_the_window_however_late_it_ends() -> None:
    seen = record([-0.5, 0.5, 1.5], [0.5, 1.5, 9.5], [OK, OK, OK], rate=1.0, callers=0)
    assert [1.0, 8.0] == seen.latencies().tolist()
    assert 0.5 == seen.goodput(deadline=2.0)


def test_a_request_of_many_texts_counts_by_its_share_of_the_window() -> None:
    seen = record([-1.0, 1.0], [1.0, 3.0], [OK, OK], texts_per_request=8)
    assert 4.0 == seen.texts_per_second


def test_refusals_and_missing_answers_are_never_throughput() -> None:
    seen = record([0.0, 0.0, 0.0], [1.0, 0.25, math.nan], [OK, SHED, UNFINISHED], rate=1.0)
    assert 0.5 == seen.texts_per_second
    assert 250.0 == seen.percentile(50, SHED)
    assert {"OK": 1, "RESOURCE_EXHAUSTED": 1, "UNFINISHED": 1} == seen.statuses()


@pytest.mark.parametrize("streams", [0, 1])
def test_a_load_that_fails_says_so(server_address: str, streams: int) -> None:
    load = Load(
        address=server_address, group=0, method="/semserve.v1.Absent/Ask", requests=(b"",),
        texts_per_request=1, answer_bytes=0, callers=1, streams=streams, warm_up=0.1, seconds=1.0,
    )  # fmt: skip
    with pytest.raises(LoadError, match="UNIMPLEMENTED"):
        drive(load).require_ok()


def test_a_ratio_is_taken_round_by_round() -> None:
    figure = Figure(name="", bar=2.0, **ratio([2.0, 30.0, 4.0], [1.0, 10.0, 4.0]))
    assert (2.0, (1.0, 3.0), "PASS") == (figure.value, figure.spread, figure.verdict)


def test_no_number_passes_no_bar() -> None:
    for at_least in (True, False):
        assert "MISS" == Figure(name="", bar=1.0, at_least=at_least).verdict


def test_made_up_texts_have_the_lengths_of_questions() -> None:
    lengths = [len(text.split()) + 2 for text in read_texts(None, 2000).short]
    middle, most = np.percentile(lengths, [50, 99])
    assert 12 <= middle <= 14
    assert 28 <= most <= 34


def test_the_bench_has_three_lengths() -> None:
    usual = Settings()
    quick, full = Settings(quick=True).of_its_length(), Settings(full=True).of_its_length()
    assert usual == usual.of_its_length()
    assert quick.seconds * quick.rounds < usual.seconds * usual.rounds < full.seconds * full.rounds
    assert set(quick.only) < set(PARTS)
    with pytest.raises(ValueError, match="--quick and --full"):
        Settings(quick=True, full=True).of_its_length()


def test_memory_that_processes_share_counts_once() -> None:
    script = "import threading; print('up', flush=True); threading.Event().wait()"
    with running("one", [sys.executable, "-c", script]) as process:
        process.wait_for(lambda said: "up" in said, "word")
        if Path("/proc/self/smaps_rollup").is_file():
            assert 0 < process.proportional_bytes() <= process.resident_bytes()
