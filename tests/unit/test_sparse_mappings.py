"""An access to a table that is mapped brings in its own page alone, where Linux can do so."""

from __future__ import annotations

import ctypes
import hashlib
import mmap
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from semserve_server.graph_cache.graph_cache import GraphCache
from semserve_server.runtime.encoding import Encoding
from semserve_server.runtime.graph import Graph
from semserve_server.runtime.session import Session, cache_key, optimise
from semserve_server.system.private_files import write_pieces
from semserve_server.system.sparse_mappings import map_single_pages

PAGE = mmap.PAGESIZE
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux can do so")

ROWS = 1024
"""Rows of a table, of one page each."""
TABLE = np.arange(ROWS * PAGE // 4, dtype="<f4").reshape(ROWS, -1)
IDS = list(range(7, ROWS, 50))


def resident(name: str) -> int:
    """The pages that this process has of the mapped files with this in their name."""
    blocks = re.split(
        r"^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text(), flags=re.MULTILINE
    )
    sizes = [
        re.search(r"^Rss:\s+(\d+) kB", block, re.MULTILINE) for block in blocks if name in block
    ]
    return sum(int(size[1]) for size in sizes if size) * 1024 // PAGE


@pytest.fixture(autouse=True)
def _possible(tmp_path: Path) -> None:
    path = tmp_path / "possible"
    path.write_bytes(bytes(PAGE))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as mapped:
        if not map_single_pages(ctypes.addressof(ctypes.c_char.from_buffer(mapped)), PAGE):
            pytest.skip("this kernel or container has no userfaultfd for files")


def test_an_access_brings_in_one_page(tmp_path: Path) -> None:
    write_pieces(tmp_path / "table", memoryview(TABLE).cast("B"))
    with (tmp_path / "table").open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    values = np.frombuffer(mapped, "<f4")
    assert map_single_pages(values.ctypes.data, values.nbytes - 5)  # the last page is included
    for row in IDS:
        assert values[row * PAGE // 4] == TABLE[row, 0]
    assert len(IDS) == resident(str(tmp_path / "table"))


def lookup() -> Graph:
    """Return a graph that adds rows of the table."""
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("Gather", ["table", "token_ids"], ["rows"]),
                helper.make_node("ReduceSum", ["rows", "axes"], ["sum"], keepdims=0),
            ],
            "lookup",
            [helper.make_tensor_value_info("token_ids", TensorProto.INT32, ["batch", "length"])],
            [helper.make_tensor_value_info("sum", TensorProto.FLOAT, ["batch", TABLE.shape[1]])],
            [
                numpy_helper.from_array(TABLE, "table"),
                numpy_helper.from_array(np.array([1]), "axes"),
            ],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    return Graph("lookup", model.SerializeToString(), ("token_ids",), "sum", TABLE.shape[1])


def test_a_session_of_the_cache_has_the_pages_of_the_rows_it_read(tmp_path: Path) -> None:
    graph = lookup()
    key = cache_key(hashlib.sha256(graph.content).hexdigest(), "x86_64; flags: avx2")
    cache = GraphCache(tmp_path / "cache", max_bytes=100_000_000)
    path = cache.store(key, lambda directory: optimise(graph, directory))
    session = Session(replace(graph, content=b"", optimised=path), threads=1, exclusive_threads=1)
    rows = session.run([Encoding(IDS, [0] * len(IDS))])
    np.testing.assert_array_equal(TABLE[IDS].sum(axis=0, keepdims=True), rows)
    assert len(IDS) == resident(str(cache.directory))


def test_a_session_without_the_cache_has_them_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    session = Session(lookup(), threads=1, exclusive_threads=1)
    session.run([Encoding(IDS, [0] * len(IDS))])
    assert len(IDS) == resident(str(tmp_path))
