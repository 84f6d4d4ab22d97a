"""Calibrations on disk: stored, read again, and used only if no other user can write them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from semserve_server.config import Config
from semserve_server.errors import ConfigError
from semserve_server.registry.cache_directory import default_directory, resolve, resolved
from semserve_server.registry.calibration_cache import (
    MAX_FILES,
    CacheKey,
    CalibrationCache,
    open_cache,
)
from semserve_server.registry.calibration_source import CalibrationSource
from semserve_server.registry.measurements import Measurements

KEY = CacheKey(
    digest="d" * 64, variant="fused", provider="CPU", cpu="x86_64 A CPU", threads=1,
    exclusive_threads=2, onnxruntime="1.30.0", server="1.0.0",
)  # fmt: skip


def measured(scale: float = 1.0, *, converged: bool = True) -> Measurements:
    runs = [(32, 0.004), (128, 0.013), (256, 0.026), (512, 0.051)]
    return Measurements(
        runs=[(tokens, seconds * scale) for tokens, seconds in runs],
        ragged=(120, 512, 0.02 * scale),
        exclusive_seconds=0.003 * scale,
        shared_seconds=0.004 * scale,
        converged=converged,
    )


@pytest.fixture
def cache(tmp_path: Path) -> CalibrationCache:
    return CalibrationCache(tmp_path / "cache")


def the_file(cache: CalibrationCache) -> Path:
    (file,) = cache.directory.iterdir()
    return file


def test_what_is_kept_is_found_again_under_the_same_key_alone(cache: CalibrationCache) -> None:
    assert cache.read(KEY) is None
    cache.store(KEY, measured())
    assert measured() == cache.read(KEY)
    for field in ("digest", "variant", "provider", "cpu", "onnxruntime", "server"):
        assert cache.read(msgspec.structs.replace(KEY, **{field: "another"})) is None
    for field in ("threads", "exclusive_threads"):
        assert cache.read(msgspec.structs.replace(KEY, **{field: 7})) is None


def test_the_directory_and_its_files_are_the_users_own(cache: CalibrationCache) -> None:
    cache.store(KEY, measured())
    assert 0o700 == cache.directory.stat().st_mode & 0o777
    assert 0o600 == the_file(cache).stat().st_mode & 0o777


def test_of_several_processes_that_measure_at_once_all_use_what_was_kept_first(
    cache: CalibrationCache,
) -> None:
    assert measured() == cache.store(KEY, measured())
    assert measured() == cache.store(KEY, measured(2.0))
    assert 1 == len(list(cache.directory.iterdir()))


def test_what_did_not_settle_is_merged_with_the_next_start(cache: CalibrationCache) -> None:
    cache.store(KEY, measured(1.5, converged=False))
    merged = cache.store(KEY, measured(1.0))
    assert (measured(1.0).runs, 2) == (merged.runs, merged.starts)
    assert merged == cache.read(KEY)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "half": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "no JSON": lambda path: path.write_bytes(b"\xff" * 100),
    "huge": lambda path: path.write_bytes(b" " * 70_000 + path.read_bytes()),
    "negative times": lambda path: path.write_text(path.read_text().replace("0.0", "-0.0")),
    "infinite times": lambda path: path.write_text(path.read_text().replace("0.004", "1e400")),
    "unordered sizes": lambda path: path.write_text(path.read_text().replace("[32,", "[999,")),
    "too many sizes": lambda path: path.write_text(
        path.read_text().replace("[[32,", f"[{','.join(f'[{n},0.1]' for n in range(1, 30))},[32,")
    ),
    "another key": lambda path: path.write_text(path.read_text().replace("A CPU", "Another")),
    "an unknown field": lambda path: path.write_text(
        path.read_text().replace('"converged"', '"more":1,"converged"')
    ),
    "written by the group": lambda path: path.chmod(0o620),
    "written by all": lambda path: path.chmod(0o602),
    "a link": lambda path: path.rename(path.with_suffix(".x")) and path.symlink_to(
        path.with_suffix(".x")
    ),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path, 0o600)),
    "a directory": lambda path: (path.unlink(), path.mkdir()),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_a_file_that_is_not_sound_is_not_used_and_is_replaced_where_it_can_be(
    name: str, cache: CalibrationCache, caplog: pytest.LogCaptureFixture
) -> None:
    cache.store(KEY, measured())
    DAMAGE[name](the_file(cache))
    assert cache.read(KEY) is None
    assert "is not used" in caplog.text
    assert measured(2.0) == cache.store(KEY, measured(2.0))
    if name != "a directory":
        assert measured(2.0) == cache.read(KEY)


def test_the_number_of_files_is_bounded(cache: CalibrationCache) -> None:
    for number in range(MAX_FILES + 10):
        (cache.directory / f"{number}.part").touch()
    cache.store(KEY, measured())
    assert MAX_FILES == len(list(cache.directory.iterdir()))
    assert measured() == cache.read(KEY)


def test_a_directory_that_cannot_be_written_costs_a_line_in_the_log(
    cache: CalibrationCache, caplog: pytest.LogCaptureFixture
) -> None:
    cache.directory.rmdir()
    assert measured() == cache.store(KEY, measured())
    assert "cannot be written" in caplog.text


@pytest.mark.parametrize(("make", "said"), [
    (lambda path: path.write_text(""), "File exists"),
    (lambda path: path.symlink_to("/"), "not a directory"),
    (lambda path: (path.mkdir(), path.chmod(0o777)), "other users can write it"),
    (lambda path: (path.mkdir(), path.chmod(0o770)), "other users can write it"),
])  # fmt: skip
def test_a_directory_that_is_named_and_not_private_is_refused_in_one_line(
    make: Callable[[Path], object], said: str, tmp_path: Path
) -> None:
    make(tmp_path / "cache")
    with pytest.raises(ConfigError, match=said) as refused:
        open_cache(str(tmp_path / "cache"))
    assert f"--calibration-cache {tmp_path / 'cache'}: " in str(refused.value)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives away")
def test_a_directory_or_file_of_another_user_is_refused(cache: CalibrationCache) -> None:
    cache.store(KEY, measured())
    os.chown(the_file(cache), 65_534, 65_534)
    assert cache.read(KEY) is None
    os.chown(cache.directory, 65_534, 65_534)
    with pytest.raises(ConfigError, match="another user owns it"):
        CalibrationCache(cache.directory)


def test_the_default_is_the_users_own_cache(tmp_path: Path) -> None:
    home, xdg = str(tmp_path / "home"), str(tmp_path / "xdg")
    assert tmp_path / "xdg/semserve" == default_directory({"HOME": home, "XDG_CACHE_HOME": xdg})
    assert tmp_path / "home/.cache/semserve" == default_directory({"HOME": home})
    relative = {"HOME": home, "XDG_CACHE_HOME": "a/relative/one"}
    assert tmp_path / "home/.cache/semserve" == default_directory(relative)
    assert default_directory({}) is None
    assert str(tmp_path / "xdg/semserve") == resolve("auto", {"XDG_CACHE_HOME": xdg})
    assert "elsewhere" == resolve("elsewhere", {"XDG_CACHE_HOME": xdg})


def test_a_default_that_cannot_be_used_is_no_cache(tmp_path: Path) -> None:
    (tmp_path / "semserve").touch()
    assert "none" == resolve("auto", {"XDG_CACHE_HOME": str(tmp_path)})
    assert "none" == resolve("auto", {})
    assert open_cache("none") is None


def test_measurements_are_kept_beside_the_graphs_unless_another_directory_is_named(
    tmp_path: Path,
) -> None:
    home = {"HOME": str(tmp_path)}
    for given, graphs, measurements in (
        (Config(), f"{tmp_path}/.cache/semserve", f"{tmp_path}/.cache/semserve"),
        (Config(cache_dir="a"), "a", "a"),
        (Config(cache_dir="none"), "none", "none"),
        (Config(cache_dir="none", calibration_cache="b"), "none", "b"),
        (Config(calibration_cache="none"), f"{tmp_path}/.cache/semserve", "none"),
    ):
        found = resolved(given, home)
        assert (graphs, measurements) == (found.cache_dir, found.calibration_cache)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no file system in memory")  # noqa: S108
def test_graphs_are_kept_in_memory_only_where_the_directory_is_named() -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        found = resolved(Config(), {"XDG_CACHE_HOME": memory})
        assert ("none", f"{memory}/semserve") == (found.cache_dir, found.calibration_cache)
        assert memory == resolved(Config(cache_dir=memory), {}).cache_dir


class Measuring:
    """Counts how often it is asked, and says what a busy machine would."""

    def __init__(self, *scales: float, runs: list[int] | None = None) -> None:
        self.scales = list(scales)
        self.runs = runs

    def __call__(self) -> Measurements:
        if self.runs is not None:
            self.runs.append(1)
        return measured(self.scales.pop(0))


NEXT = msgspec.structs.replace(KEY, digest="e" * 64)


def test_a_model_is_measured_once_for_all_starts(cache: CalibrationCache) -> None:
    measuring = Measuring(1.0)
    for _ in range(20):
        found = CalibrationSource(cache).find("m", KEY, 100, measuring)
        assert measured() == found.measurements


def test_a_start_that_did_not_converge_counts_once(cache: CalibrationCache) -> None:
    for starts, (scale, converged) in enumerate([(2.0, False), (1.5, False), (1.0, True)], start=1):
        trial = measured(scale, converged=False)
        found = CalibrationSource(cache).find("m", KEY, 100, lambda trial=trial: trial).measurements
        assert (starts, converged, trial.runs) == (found.starts, found.converged, found.runs)


def test_the_next_version_of_a_model_is_not_measured_beside_traffic() -> None:
    calibrations = CalibrationSource()
    first = calibrations.find("m", KEY, 1_000_000, Measuring(1.0))
    assert first == calibrations.find("m", NEXT, 1_000_100, Measuring())
    for other in (
        lambda: calibrations.find("m", NEXT, 2_000_000, Measuring(2.0)),
        lambda: calibrations.find("another", NEXT, 1_000_000, Measuring(2.0)),
    ):
        assert measured(2.0) == other().measurements


def test_what_is_measured_beside_traffic_is_told_and_never_kept(
    cache: CalibrationCache, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    runs: list[int] = []
    calibrations = CalibrationSource(cache, lambda: len(runs))
    found = calibrations.find("m", KEY, 100, Measuring(3.0, runs=runs))
    assert measured(3.0) == found.measurements
    assert "m: measured under load: batches of 256 tokens" in caplog.text
    assert [] == list(cache.directory.iterdir())
    assert measured(1.0) == calibrations.find("m", NEXT, 100, Measuring(1.0)).measurements
