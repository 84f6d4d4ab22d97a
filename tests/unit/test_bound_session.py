"""Sessions with bound buffers, on the CPU with the real runtime: what they share with a GPU."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from conftest import TINY
from semserve_server.cuda.bound_session import BoundSession, Place
from semserve_server.cuda.buffers import Buffers
from semserve_server.cuda.placement import Node, described, misplaced
from semserve_server.cuda.shapes import lengths, rounded, rounded_batch, usual_shapes
from semserve_server.errors import ConfigError
from semserve_server.registry.sessions import choose_variant, graph_of
from semserve_server.repository.manifest import read_bundle, read_manifest
from semserve_server.runtime.device import Device, parse_device
from semserve_server.runtime.encoding import Encoding
from semserve_server.runtime.padding import pad
from semserve_server.runtime.session import Session

CPU = Place("CPUExecutionProvider")
GRAPH = graph_of(read_bundle(TINY / "tiny-embed"), "portable")


def texts(*sizes: int) -> list[Encoding]:
    """Make encodings of these lengths, all different."""
    return [Encoding(list(range(5, 5 + size)), [0] * size) for size in sizes]


@pytest.fixture(scope="module")
def bound() -> BoundSession:
    return BoundSession(GRAPH, [CPU], max_length=64, runs_per_gpu=2)


@pytest.mark.parametrize("sizes", [(1,), (3, 17, 5), (9,) * 37, (64, 1, 40, 2, 8)])
def test_rounded_shapes_give_the_rows_of_exact_ones(bound, sizes):
    exact = Session(GRAPH, threads=1, exclusive_threads=1).run(texts(*sizes))
    rows = bound.run(texts(*sizes))
    assert exact.shape == rows.shape
    np.testing.assert_allclose(exact, rows, atol=2e-6)


def test_a_row_is_not_overwritten_by_the_next_run(bound):
    first = bound.run(texts(4))
    kept = first.copy()
    for _ in range(3):
        bound.run(texts(7))
    np.testing.assert_array_equal(kept, first)


def test_simultaneous_runs_do_not_mix(bound):
    expected = {size: bound.run(texts(size)) for size in range(1, 9)}
    wrong: list[int] = []

    def ask(size: int) -> None:
        rows = [bound.run(texts(size)) for _ in range(30)]
        wrong.extend(size for row in rows if not np.array_equal(expected[size], row))

    threads = [threading.Thread(target=ask, args=(size,)) for size in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [] == wrong


def test_a_warm_up_ends_in_time_and_changes_no_row(bound):
    before = bound.run(texts(5, 6))
    instants = iter(range(1000))
    runs = bound.warm_up(
        lambda n: texts(n)[0], most_tokens=256, seconds=10, clock=lambda: float(next(instants))
    )
    assert 1 <= runs <= 10
    np.testing.assert_array_equal(before, bound.run(texts(5, 6)))
    giant = bound.run(texts(*[64] * 50))  # frees its memory at its end
    assert np.isfinite(giant).all()


def test_the_buffers_of_all_shapes_have_a_bound():
    import onnxruntime as ort  # noqa: PLC0415

    session = ort.InferenceSession(GRAPH.content, providers=[CPU.provider])
    buffers = Buffers(GRAPH, session, "cpu", 0, max_bytes=12_000)
    for batch in (1, 2, 4, 8, 16, 32):
        shape = (batch, 16)
        buffers.run(pad(texts(*[9] * batch), start=False, shape=shape), shape, ort.RunOptions())
    assert 12_000 >= buffers.size
    assert (32, 16) == buffers.shapes[-1]
    assert (1, 16) not in buffers.shapes


def test_a_shape_is_rounded_up_and_stays_in_the_model():
    for length in range(1, 257):
        for batch in (1, 3, 5, 31, 100, 1025):
            made = rounded((batch, length), most=256)
            assert batch <= made[0] <= max(batch * 1.25, 4)
            assert length <= made[1] <= 256
            assert made == rounded(made, most=256)
    assert (1, 300) == rounded((1, 300), most=256)
    assert 30 > len({rounded_batch(n) for n in range(1, 257)})
    assert [8, 16, 20] == list(lengths(20))


def test_usual_shapes_begin_with_the_most_memory_and_fit_the_batch():
    shapes = usual_shapes(most_length=256, most_tokens=8192)
    assert (32, 256) == shapes[0]
    assert (1, 8) == shapes[-1]
    assert all(batch * length <= 8192 * 1.25 for batch, length in shapes)


NODES = [
    Node("Gather_1", "Gather", "CUDAExecutionProvider"),
    Node("Shape_2", "Shape", "CPUExecutionProvider"),
    Node("product_3", "MatMulIntegerToFloat", "CPUExecutionProvider"),
]
COPY = Node("Memcpy", "MemcpyToHost", "CUDAExecutionProvider")


def test_nodes_on_the_cpu_are_named_if_anything_is_copied():
    assert [] == misplaced(NODES, allowed=frozenset())
    assert NODES[1:] == misplaced([*NODES, COPY], allowed=frozenset())
    assert [] == misplaced([*NODES, COPY], allowed=frozenset({"Shape", "MatMulIntegerToFloat"}))
    assert "1 Shape, 1 MatMulIntegerToFloat (Shape_2, product_3)" == described(NODES[1:])


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("auto", Device("auto")),
        ("cpu", Device("cpu")),
        ("cuda", Device("cuda")),
        ("cuda:3", Device("cuda", (3,))),
        ("cuda:0,2", Device("cuda", (0, 2))),
        ("tensorrt:1", Device("tensorrt", (1,))),
    ],
)
def test_a_device_is_parsed(text, device):
    assert device == parse_device(text)
    assert text == str(device)


@pytest.mark.parametrize("text", ["", "gpu", "cuda:", "cuda:a", "cpu:0", "cuda:1,1", "cuda:99999"])
def test_what_is_no_device_is_refused_by_name(text):
    with pytest.raises(ConfigError, match=f"--device {text}"):
        parse_device(text)


def test_auto_takes_fp16_on_a_gpu_and_full_precision_on_the_cpu():
    manifest, _ = read_manifest(TINY / "tiny-embed")
    import msgspec  # noqa: PLC0415

    portable = manifest.variants["portable"]
    three = dict.fromkeys(("portable", "fused", "fp16"), portable)
    manifest = msgspec.structs.replace(manifest, variants=three)
    assert "fp16" == choose_variant(manifest, "auto", on_gpu=True)
    assert "fused" == choose_variant(manifest, "auto")
