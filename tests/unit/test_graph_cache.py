"""Optimised graphs on disk: the same bits, and never a file that differs from its digest."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from conftest import CALIBRATIONS, TINY
from known_calibrations import keep_calibrations
from semserve_server.config import Config
from semserve_server.errors import ConfigError
from semserve_server.registry.loader import load
from semserve_server.registry.sessions import graph_of, open_graph_cache
from semserve_server.repository.manifest import read_bundle
from semserve_server.runtime.encoding import Encoding
from semserve_server.runtime.graph_cache import MAX_ENTRIES, GraphCache
from semserve_server.runtime.session import Session, cache_key, optimise
from tiny_bundles import with_fused

BUNDLE = read_bundle(TINY / "tiny-embed")
GRAPH = graph_of(BUNDLE, "portable")
KEY = cache_key(hashlib.sha256(GRAPH.content).hexdigest(), "x86_64; flags: avx2")
TEXTS = [Encoding(list(range(1, 1 + n)), [0] * n) for n in (3, 17, 8)]
PLENTY = 1_000_000_000


@pytest.fixture
def cache(tmp_path: Path) -> GraphCache:
    return GraphCache(tmp_path / "cache", max_bytes=PLENTY)


def store(cache: GraphCache) -> Path:
    """Keep the graph of the tiny bundle; its entry."""
    path = cache.store(KEY, lambda directory: optimise(GRAPH, directory))
    assert path is not None
    return path.parent


def answers(session: Session) -> tuple[bytes, bytes]:
    """The bits of the answers of both sessions, alone and beside others."""
    alone, beside = (session.run(TEXTS, exclusive=one) for one in (True, False))
    return alone.tobytes(), beside.tobytes()


def test_a_session_of_the_cache_gives_the_same_bits_with_one_and_two_threads(
    cache: GraphCache,
) -> None:
    store(cache)
    own = Session(GRAPH, threads=1, exclusive_threads=2)
    kept = replace(GRAPH, content=b"", optimised=cache.find(KEY))
    assert answers(own) == answers(Session(kept, threads=1, exclusive_threads=2))


def test_the_files_are_the_users_own(cache: GraphCache) -> None:
    entry = store(cache)
    for directory in (cache.directory.parent, cache.directory, entry):
        assert 0o700 == directory.stat().st_mode & 0o777
    files = {path.name: path.stat().st_mode & 0o777 for path in entry.iterdir()}
    assert {"index.json": 0o600, "model.onnx": 0o600, "weights.bin": 0o600} == files


@pytest.mark.parametrize("field", ["graph", "onnxruntime", "cpu", "options"])
def test_another_graph_runtime_cpu_or_option_misses(cache: GraphCache, field: str) -> None:
    store(cache)
    assert cache.find(KEY) is not None
    assert cache.find(msgspec.structs.replace(KEY, **{field: "another"})) is None


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a flipped bit of the graph": lambda entry: flip(entry / "model.onnx"),
    "a flipped bit of the weights": lambda entry: flip(entry / "weights.bin"),
    "a cut off file": lambda entry: os.truncate(entry / "weights.bin", 4096),
    "a longer file": lambda entry: os.truncate(entry / "weights.bin", 10_000_000),
    "no weights": lambda entry: (entry / "weights.bin").unlink(),
    "no index": lambda entry: (entry / "index.json").unlink(),
    "an empty index": lambda entry: (entry / "index.json").write_bytes(b""),
    "a huge index": lambda entry: (entry / "index.json").write_bytes(b" " * 100_000),
    "an index without the graph": lambda entry: (entry / "index.json").write_text(
        json.dumps(json.loads((entry / "index.json").read_text()) | {"files": {}})
    ),
    "the index of another key": lambda entry: (entry / "index.json").write_text(
        (entry / "index.json").read_text().replace("avx2", "avx")
    ),
    "an index with a file elsewhere": lambda entry: (entry / "index.json").write_text(
        (entry / "index.json").read_text().replace("model.onnx", "../model.onnx")
    ),
    "written by the group": lambda entry: (entry / "weights.bin").chmod(0o660),
    "a directory written by all": lambda entry: entry.chmod(0o777),
    "a link": lambda entry: (
        (entry / "weights.bin").rename(entry.parent / "x"),
        (entry / "weights.bin").symlink_to(entry.parent / "x"),
    ),
    "a pipe": lambda entry: ((entry / "weights.bin").unlink(), os.mkfifo(entry / "weights.bin")),
    "a directory": lambda entry: (
        (entry / "model.onnx").unlink(), (entry / "model.onnx").mkdir()
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_an_entry_that_is_not_sound_is_not_used_and_is_made_again(
    name: str, cache: GraphCache, caplog: pytest.LogCaptureFixture
) -> None:
    entry = store(cache)
    DAMAGE[name](entry)
    assert cache.find(KEY) is None
    assert "is not used" in caplog.text
    assert not entry.exists()
    assert entry == store(cache)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives away")
def test_a_file_of_another_user_is_not_used(cache: GraphCache) -> None:
    os.chown(store(cache) / "weights.bin", 65_534, 65_534)
    assert cache.find(KEY) is None


def test_the_entries_unused_longest_go_beyond_the_bytes(tmp_path: Path) -> None:
    entry = store(GraphCache(tmp_path / "one", max_bytes=PLENTY))
    size = sum(path.stat().st_size for path in entry.iterdir())
    cache = GraphCache(tmp_path / "cache", max_bytes=3 * size)
    keys = [msgspec.structs.replace(KEY, cpu=f"CPU {number}") for number in range(4)]
    for hour, key in enumerate(keys[:3]):
        path = cache.store(key, lambda directory: optimise(GRAPH, directory))
        assert path is not None
        os.utime(path.parent / "index.json", (3600 * hour, 3600 * hour))
    assert cache.find(keys[0]) is not None  # and so it was used last
    assert cache.store(keys[3], lambda directory: optimise(GRAPH, directory)) is not None
    assert [True, False, True, True] == [cache.find(key) is not None for key in keys]


def test_the_number_of_entries_is_bounded(cache: GraphCache) -> None:
    for number in range(MAX_ENTRIES + 10):
        (cache.directory / f"{number:032}").mkdir(parents=True)
    store(cache)
    assert MAX_ENTRIES == len(list(cache.directory.iterdir()))
    assert cache.find(KEY) is not None


def test_a_graph_that_is_larger_than_the_cache_is_not_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    cache = GraphCache(tmp_path / "cache", max_bytes=1000)
    assert cache.store(KEY, lambda directory: optimise(GRAPH, directory)) is None
    assert "more than --max-cache-bytes 1000" in caplog.text
    assert [] == list(cache.directory.iterdir())


def test_what_a_process_that_died_has_left_is_removed(cache: GraphCache) -> None:
    left, fresh = cache.directory / ".old.part", cache.directory / ".new.part"
    for path in (left, fresh):
        path.mkdir(parents=True)
    os.utime(left, (0, 0))
    store(cache)
    assert [False, True] == [left.exists(), fresh.exists()]


def test_a_directory_that_others_can_write_is_refused_by_the_name_of_the_flag(
    tmp_path: Path,
) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    with pytest.raises(ConfigError, match=f"--cache-dir {tmp_path}/cache: other users can write"):
        open_graph_cache(Config(cache_dir=str(tmp_path / "cache")))


def config(directory: Path) -> Config:
    return Config(
        device="cpu",
        batch_workers=2,
        intra_op_threads=1,
        cache_dir=str(directory),
        calibration_cache=CALIBRATIONS,
    )


def entries(directory: Path) -> list[Path]:
    """The entries of a cache, without those that are being made."""
    return [path for path in (directory / "graphs").glob("*") if not path.name.startswith(".")]


def test_a_bundle_is_loaded_from_the_cache_with_the_same_bits(tmp_path: Path) -> None:
    directory = with_fused(TINY / "tiny-embed", tmp_path / "tiny-embed")
    keep_calibrations(CALIBRATIONS, directory)
    own = load(replace(config(tmp_path / "cache"), cache_dir="none"), directory)
    first, second = (load(config(tmp_path / "cache"), directory) for _ in range(2))
    assert 1 == len(entries(tmp_path / "cache"))
    rows = [loaded.runner.run(TEXTS) for loaded in (own, first, second)]
    assert rows[0].tobytes() == rows[1].tobytes() == rows[2].tobytes()


def test_a_portable_graph_is_not_kept_as_it_may_hold_any_operator(tmp_path: Path) -> None:
    load(config(tmp_path / "cache"), TINY / "tiny-embed")
    assert [] == entries(tmp_path / "cache")


def rewritten(entry: Path, name: str, content: bytes) -> None:
    """Change a file and its digest, as only the user can."""
    (entry / name).write_bytes(content)
    index = json.loads((entry / "index.json").read_text())
    index["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (entry / "index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("weights.bin", lambda content: content[::-1]),
        ("weights.bin", lambda content: bytes(len(content))),
        ("model.onnx", lambda _content: b"no graph at all"),
        ("model.onnx", lambda content: content.replace(b"embedding", b"embeddinh")),
    ],
    ids=["other weights", "no weights", "no graph", "another output"],
)
def test_a_graph_of_the_cache_that_differs_is_replaced_by_the_bundles_own(
    tmp_path: Path, name: str, change: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    bundle = with_fused(TINY / "tiny-embed", tmp_path / "tiny-embed")
    keep_calibrations(CALIBRATIONS, bundle)
    expected = load(config(tmp_path), bundle).runner.run(TEXTS)
    (entry,) = entries(tmp_path)
    rewritten(entry, name, change((entry / name).read_bytes()))
    rows = load(config(tmp_path), bundle).runner.run(TEXTS)
    np.testing.assert_array_equal(expected, rows)
    assert "is not used" in caplog.text
    assert [] == entries(tmp_path)
