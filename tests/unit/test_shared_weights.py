"""Equal weights of several graphs are one file, which exists as long as a graph has it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from semserve_server.graph_cache.graph_cache import MAX_ENTRIES, GraphCache
from semserve_server.runtime.encoding import Encoding
from semserve_server.runtime.graph import Graph, GraphKey
from semserve_server.runtime.session import Session, cache_key, optimise

TEXTS = [Encoding(list(range(1, 1 + n)), [0] * n) for n in (3, 17, 8)]
WIDTH = 64
WEIGHT_BYTES = 2 * WIDTH * WIDTH * 4
"""Bytes of a file: a matrix, and its packed form."""
PLENTY = 1_000_000_000


def graph(*seeds: int) -> Graph:
    """Return a graph that multiplies by a matrix for each seed; equal seeds are equal matrices."""
    nodes = [
        helper.make_node("Cast", ["token_ids"], ["ids"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("ReduceSum", ["rows", "axes"], ["layer_0"], keepdims=0),
    ]
    weights = [
        numpy_helper.from_array(np.eye(32, WIDTH, dtype="<f4"), "table"),
        numpy_helper.from_array(np.array([1]), "axes"),
    ]
    for place, seed in enumerate(seeds):
        matrix = np.random.default_rng(seed).standard_normal((WIDTH, WIDTH), dtype="<f4")
        weights.append(numpy_helper.from_array(matrix, f"matrix_{place}"))
        nodes.append(
            helper.make_node(
                "MatMul", [f"layer_{place}", f"matrix_{place}"], [f"layer_{place + 1}"]
            )
        )
    output = f"layer_{len(seeds)}"
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "layers",
            [helper.make_tensor_value_info("token_ids", TensorProto.INT32, ["batch", "length"])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", WIDTH])],
            weights,
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    return Graph(
        name=f"layers {seeds}",
        content=model.SerializeToString(),
        inputs=("token_ids",),
        output=output,
        outputs=WIDTH,
    )


def key_of(one: Graph) -> GraphKey:
    return cache_key(hashlib.sha256(one.content).hexdigest(), "x86_64; flags: avx2")


def store(cache: GraphCache, one: Graph, before: Callable[[], object] = lambda: None) -> Path:
    """Keep a graph; its entry. `before` is called before the files are written."""

    def write(directory: Path) -> None:
        before()
        optimise(one, directory)

    path = cache.store(key_of(one), write)
    assert path is not None
    return path.parent


def shared(cache: GraphCache) -> set[int]:
    """The numbers of all files of weights that the cache has."""
    return {path.stat().st_ino for path in (cache.directory.parent / "weights").iterdir()}


def own(*entries: Path) -> set[int]:
    """The numbers of the files of weights of entries."""
    return {path.stat().st_ino for entry in entries for path in entry.glob("*.bin")}


def opened(one: Graph, entry: Path) -> Session:
    kept = replace(one, content=b"", optimised=entry / "model.onnx")
    return Session(kept, threads=1, exclusive_threads=1)


@pytest.fixture
def cache(tmp_path: Path) -> GraphCache:
    return GraphCache(tmp_path / "cache", max_bytes=PLENTY)


FIRST, SECOND = graph(1, 2, 3), graph(1, 2, 4)
"""Graphs with two equal matrices and an equal table."""


def test_equal_weights_of_two_graphs_are_one_file_with_the_same_bits(cache: GraphCache) -> None:
    first, second = store(cache, FIRST), store(cache, SECOND)
    assert 5 == len(own(first, second)) == len(shared(cache))
    assert 3 == len(own(first) & own(second))
    for one, entry in ((FIRST, first), (SECOND, second)):
        expected = Session(one, threads=1, exclusive_threads=1).run(TEXTS)
        np.testing.assert_array_equal(expected, opened(one, entry).run(TEXTS))


def test_equal_weights_within_a_graph_are_one_file(cache: GraphCache) -> None:
    thrice = graph(7, 7, 7)
    entry = store(cache, thrice)
    # The table, the first matrix with its packed form, and the others, without one.
    assert 3 == len(own(entry))
    expected = Session(thrice, threads=1, exclusive_threads=1).run(TEXTS)
    np.testing.assert_array_equal(expected, opened(thrice, entry).run(TEXTS))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists what is mapped")
def test_the_sessions_of_two_graphs_map_the_same_file(cache: GraphCache) -> None:
    entries = store(cache, FIRST), store(cache, SECOND)
    sessions = [opened(one, entry) for one, entry in zip((FIRST, SECOND), entries, strict=True)]
    lines = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    mapped = [int(line[4]) for line in lines if str(cache.directory) in line[-1]]
    for number in own(entries[0]) & own(entries[1]):
        assert len(sessions) == mapped.count(number)


def test_a_file_is_removed_with_the_last_graph_that_has_it(cache: GraphCache) -> None:
    store(cache, FIRST)
    second = store(cache, SECOND)
    cache.remove(key_of(FIRST))
    assert own(second) == shared(cache)
    assert cache.find(key_of(SECOND)) is not None
    cache.remove(key_of(SECOND))
    assert set() == shared(cache)


def test_a_graph_can_be_removed_while_another_takes_its_files(cache: GraphCache) -> None:
    store(cache, FIRST)
    second = store(cache, SECOND, before=lambda: cache.remove(key_of(FIRST)))
    assert own(second) == shared(cache)
    assert cache.find(key_of(SECOND)) is not None


def test_a_damaged_file_damages_all_graphs_that_have_it_and_is_made_again(
    cache: GraphCache, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = store(cache, FIRST), store(cache, SECOND)
    (number, *_) = own(first) & own(second)
    (path,) = (path for path in first.glob("*.bin") if path.stat().st_ino == number)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes((content[-1] ^ 1,)))
    assert [None, None] == [cache.find(key_of(one)) for one in (FIRST, SECOND)]
    assert "differs from its digest" in caplog.text
    assert content == (store(cache, FIRST) / path.name).read_bytes()
    assert 3 == len(own(first) & own(store(cache, SECOND)))


def test_a_damaged_file_without_a_graph_is_not_taken(cache: GraphCache) -> None:
    first = store(cache, FIRST)
    for path in first.glob("*.bin"):
        path.write_bytes(b"damaged")
    second = store(cache, SECOND)
    assert cache.find(key_of(SECOND)) is not None
    assert cache.find(key_of(FIRST)) is None
    assert own(second) == shared(cache)


def test_graphs_that_are_written_at_the_same_time_share_their_files(cache: GraphCache) -> None:
    graphs = [graph(1, 2, 3, seed) for seed in range(10, 16)]
    together = threading.Barrier(len(graphs))
    with ThreadPoolExecutor(len(graphs)) as pool:
        entries = list(pool.map(lambda one: store(cache, one, before=together.wait), graphs))
    assert 4 + len(graphs) == len(own(*entries)) == len(shared(cache))
    for one in graphs:
        assert cache.find(key_of(one)) is not None


def test_the_bytes_of_a_shared_file_count_once(tmp_path: Path) -> None:
    first = store(GraphCache(tmp_path / "one", max_bytes=PLENTY), FIRST)
    size = sum(path.stat().st_size for path in first.iterdir())
    cache = GraphCache(tmp_path / "two", max_bytes=size + WEIGHT_BYTES + 20_000)
    store(cache, FIRST)
    store(cache, SECOND)
    assert None not in [cache.find(key_of(one)) for one in (FIRST, SECOND)]


def test_the_entries_unused_longest_go_beyond_the_bytes(tmp_path: Path) -> None:
    graphs = [graph(seed) for seed in range(4)]
    entry = store(GraphCache(tmp_path / "one", max_bytes=PLENTY), graphs[0])
    size = sum(path.stat().st_size for path in entry.iterdir())
    cache = GraphCache(tmp_path / "two", max_bytes=3 * size)
    for hour, one in enumerate(graphs[:3]):
        os.utime(store(cache, one) / "index.json", (3600 * hour, 3600 * hour))
    assert cache.find(key_of(graphs[0])) is not None  # and so it was used last
    store(cache, graphs[3])
    kept = [cache.find(key_of(one)) is not None for one in graphs]
    assert [True, False, True, True] == kept


def test_the_number_of_entries_is_bounded(cache: GraphCache) -> None:
    first = store(cache, FIRST)
    for number in range(MAX_ENTRIES + 10):
        entry = cache.directory / f"{number:032}"
        entry.mkdir()
        (entry / "index.json").hardlink_to(first / "index.json")
    store(cache, SECOND)
    assert MAX_ENTRIES == len(list(cache.directory.iterdir()))
    assert cache.find(key_of(SECOND)) is not None


def test_an_entry_of_a_version_with_one_file_of_weights_is_removed(cache: GraphCache) -> None:
    first = store(cache, FIRST)
    old = cache.directory / ("0" * 32)
    old.mkdir()
    index = json.loads((first / "index.json").read_text())
    files = dict.fromkeys(("model.onnx", "weights.bin"), index["graph"])
    (old / "index.json").write_text(json.dumps({"key": index["key"], "files": files}))
    store(cache, SECOND)
    assert [True, False] == [first.exists(), old.exists()]


def test_a_copied_cache_has_files_of_its_own(cache: GraphCache, tmp_path: Path) -> None:
    store(cache, FIRST)
    root = tmp_path / "copy"
    shutil.copytree(cache.directory.parent, root)
    copied = GraphCache(root, max_bytes=PLENTY)
    assert copied.find(key_of(FIRST)) is not None
    second = store(copied, SECOND)
    assert own(second) == shared(copied)


def test_a_file_system_without_hard_links_has_the_files_of_each_graph(
    cache: GraphCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, _target: Path) -> None:
        source.stat()
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)  # no such file system is at hand
    first, second = store(cache, FIRST), store(cache, SECOND)
    assert set() == own(first) & own(second)
    assert None not in [cache.find(key_of(one)) for one in (FIRST, SECOND)]
