"""What a model's runs cost is measured once: not at every start, and not beside traffic."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import CALIBRATIONS, fails, start_server, wait_for_line
from controlled import NAME, Controlled, describe
from semserve_server.config import Config
from semserve_server.registry.calibration_cache import CalibrationCache
from semserve_server.registry.calibration_source import CalibrationSource
from semserve_server.registry.loader import load


def started(*arguments: str) -> list[str]:
    """Start a server and end it; what it said until it served."""
    output: list[str] = []
    process = start_server(*arguments)
    try:
        wait_for_line(process, output)
    finally:
        process.terminate()
        process.communicate(timeout=30)
    return output


def budgets(said: list[str], origin: str) -> dict[str, str]:
    pattern = rf"(\S+): {origin}: batches of (\d+) tokens"
    return dict(re.findall(pattern, "".join(said)))


def test_the_next_start_measures_nothing_and_chooses_the_same(
    tiny_models: Path, tmp_path: Path
) -> None:
    arguments = ("--models", str(tiny_models / NAME), "--calibration-cache", str(tmp_path / "new"))
    first = budgets(started(*arguments), "measured")
    assert {NAME} == first.keys()
    if '"converged":true' in next((tmp_path / "new").iterdir()).read_text():
        assert first == budgets(started(*arguments), "from the calibration cache")


@pytest.mark.parametrize(("workers", "threads"), [(1, 1), (0, 0), (0, 1)])
def test_the_servers_of_the_tests_measure_nothing(
    tiny_models: Path, caplog: pytest.LogCaptureFixture, workers: int, threads: int
) -> None:
    caplog.set_level("INFO")
    config = Config(device="cpu", batch_workers=workers, intra_op_threads=threads)
    load(config, tiny_models / NAME, CalibrationSource(CalibrationCache(Path(CALIBRATIONS))))
    assert f"{NAME}: from the calibration cache: batches of 4096 tokens" in caplog.text


def test_a_directory_that_others_can_write_ends_the_start_with_one_line(
    tiny_models: Path, tmp_path: Path
) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    code, line = fails("--models", str(tiny_models), "--calibration-cache", str(tmp_path / "cache"))
    assert 2 == code
    assert f"--calibration-cache {tmp_path / 'cache'}: other users can write it" in line


async def test_a_new_version_takes_over_what_the_old_one_was_measured_to_cost(
    served: Controlled, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    before = served.models.named(NAME).capacity
    describe(served.bundle, "another version")
    await served.control.refresh()
    after = served.models.named(NAME).capacity
    assert f"{NAME}: from the version before: batches of" in caplog.text
    assert before.max_batch_tokens == after.max_batch_tokens
    assert before.exclusive_threads == after.exclusive_threads
