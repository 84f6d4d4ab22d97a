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
from semserve_server.graph_cache.graph_cache import GraphCache
from semserve_server.registry.loader import load
from semserve_server.registry.sessions import graph_of, open_graph_cache
from semserve_server.repository.manifest import read_bundle
from semserve_server.runtime.encoding import Encoding
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


def weights(entry: Path) -> Path:
    """The largest file of weights of an entry."""
    return max(entry.glob("*.bin"), key=lambda path: path.stat().st_size)


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
    root = cache.directory.parent
    for directory in (root, cache.directory, entry, root / "weights"):
        assert 0o700 == directory.stat().st_mode & 0o777
    assert {"index.json", "model.onnx"} < {path.name for path in entry.iterdir()}
    for path in (*entry.iterdir(), *(root / "weights").iterdir()):
        assert 0o600 == path.stat().st_mode & 0o777


def test_a_file_of_weights_is_named_by_its_content(cache: GraphCache) -> None:
    files = list(store(cache).glob("*.bin"))
    assert 2 == len(files)  # the weights of a page and more
    for path in files:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem


@pytest.mark.parametrize("field", ["graph", "onnxruntime", "cpu", "options"])
def test_another_graph_runtime_cpu_or_option_misses(cache: GraphCache, field: str) -> None:
    store(cache)
    assert cache.find(KEY) is not None
    assert cache.find(msgspec.structs.replace(KEY, **{field: "another"})) is None


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def linked(path: Path, target: Path) -> None:
    path.rename(target)
    path.symlink_to(target)


def piped(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a flipped bit of the graph": lambda entry: flip(entry / "model.onnx"),
    "a flipped bit of the weights": lambda entry: flip(weights(entry)),
    "a cut off file": lambda entry: os.truncate(weights(entry), 4096),
    "a longer file": lambda entry: os.truncate(weights(entry), 10_000_000),
    "no weights": lambda entry: weights(entry).unlink(),
    "no index": lambda entry: (entry / "index.json").unlink(),
    "an empty index": lambda entry: (entry / "index.json").write_bytes(b""),
    "a huge index": lambda entry: (entry / "index.json").write_bytes(b" " * 300_000),
    "an index without the graph": lambda entry: (entry / "index.json").write_text(
        json.dumps({"key": json.loads((entry / "index.json").read_text())["key"]})
    ),
    "the index of another key": lambda entry: (entry / "index.json").write_text(
        (entry / "index.json").read_text().replace("avx2", "avx")
    ),
    "an index with a file elsewhere": lambda entry: (entry / "index.json").write_text(
        (entry / "index.json").read_text().replace(weights(entry).stem, "../" + "0" * 61)
    ),
    "written by the group": lambda entry: weights(entry).chmod(0o660),
    "a directory written by all": lambda entry: entry.chmod(0o777),
    "a link": lambda entry: linked(weights(entry), entry.parent / "x"),
    "a pipe": lambda entry: piped(weights(entry)),
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
    os.chown(weights(store(cache)), 65_534, 65_534)
    assert cache.find(KEY) is None


def test_a_graph_that_is_larger_than_the_cache_is_not_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    cache = GraphCache(tmp_path / "cache", max_bytes=1000)
    assert cache.store(KEY, lambda directory: optimise(GRAPH, directory)) is None
    assert "more than --max-cache-bytes 1000" in caplog.text
    assert [] == [*cache.directory.iterdir(), *(tmp_path / "cache" / "weights").iterdir()]


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
    """Change a file of an entry and its digest, as only the user can."""
    path = entry / name
    index = (entry / "index.json").read_text()
    described = '"sha256":"{}","bytes":{}'
    old = hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size
    new = hashlib.sha256(content).hexdigest(), len(content)
    assert described.format(*old) in index
    (entry / "index.json").write_text(index.replace(described.format(*old), described.format(*new)))
    path.unlink()  # other entries may have it
    if name == "model.onnx":
        path.write_bytes(content)
    else:
        (entry / f"{new[0]}.bin").write_bytes(content)
        graph = (entry / "model.onnx").read_bytes()
        rewritten(entry, "model.onnx", graph.replace(old[0].encode(), new[0].encode()))


@pytest.mark.parametrize(
    ("pattern", "change"),
    [
        ("*.bin", lambda content: content[::-1]),
        ("*.bin", lambda content: bytes(len(content))),
        ("model.onnx", lambda _content: b"no graph at all"),
        ("model.onnx", lambda content: content.replace(b"embedding", b"embeddinh")),
    ],
    ids=["other weights", "no weights", "no graph", "another output"],
)
def test_a_graph_of_the_cache_that_differs_is_replaced_by_the_bundles_own(
    tmp_path: Path, pattern: str, change: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    bundle = with_fused(TINY / "tiny-embed", tmp_path / "tiny-embed")
    keep_calibrations(CALIBRATIONS, bundle)
    expected = load(config(tmp_path), bundle).runner.run(TEXTS)
    (entry,) = entries(tmp_path)
    for path in list(entry.glob(pattern)):
        rewritten(entry, path.name, change(path.read_bytes()))
    rows = load(config(tmp_path), bundle).runner.run(TEXTS)
    np.testing.assert_array_equal(expected, rows)
    assert "is not used" in caplog.text
    assert [] == entries(tmp_path)
