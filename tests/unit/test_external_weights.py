"""Each external weight of a graph gets a file of its own, and nothing else of the graph changes."""

from __future__ import annotations

import contextlib

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from semserve_server.graph_cache.external_weights import ALIGNMENT, divide

CONTENT = bytes(np.random.default_rng(0).integers(0, 256, 40_000, np.uint8))


def external(name: str, **entries: str) -> TensorProto:
    tensor = TensorProto(name=name, dims=[10], data_type=TensorProto.FLOAT)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        # ONNX Runtime numbers packed forms by their parts, so keys repeat.
        tensor.external_data.add(key=key.removesuffix("_again"), value=value)
    return tensor


def model(*weights: TensorProto) -> bytes:
    node = helper.make_node("Add", ["a", "b"], ["c"])
    outputs = [helper.make_tensor_value_info("c", TensorProto.FLOAT, [10])]
    return helper.make_model(
        helper.make_graph([node], "sum", [], outputs, weights)
    ).SerializeToString()


class Files:
    """Files by name."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}

    def keep(self, parts: list[memoryview]) -> str:
        name = f"file {len(self.contents)}"
        self.contents[name] = b"".join(parts)
        return name


def test_a_weight_moves_with_all_of_its_packed_forms() -> None:
    files = Files()
    weight = external(
        "a",
        location="weights.bin",
        offset="5000",
        length="40",
        prepacked_1="MatMul+17|9000;100;0",
        prepacked_1_again="Gemm+3|20000;5000;0",
        prepacked_2="Attention+9|30000;4096;0|35000;1;0",
    )
    (moved,) = onnx.load_from_string(
        divide(model(weight), memoryview(CONTENT), files.keep)
    ).graph.initializer
    entries = [(entry.key, entry.value) for entry in moved.external_data]
    assert [
        ("location", "file 0"),
        ("offset", "0"),
        ("length", "40"),
        ("prepacked_1", "MatMul+17|4096;100;0"),
        ("prepacked_1", "Gemm+3|8192;5000;0"),
        ("prepacked_2", "Attention+9|16384;4096;0|20480;1;0"),
    ] == entries
    (file,) = files.contents.values()
    places = {0: (5000, 40), 4096: (9000, 100), 8192: (20_000, 5000), 16_384: (30_000, 4096)}
    for start, (offset, length) in places.items():
        assert CONTENT[offset : offset + length] == file[start : start + length]
    assert 0 == len(file) % ALIGNMENT


def test_everything_else_of_the_graph_stays_as_it_is() -> None:
    inline = numpy_helper.from_array(np.arange(10, dtype="<f4"), "b")
    weight = external("a", location="weights.bin", offset="0", length="40")
    files = Files()
    divided = onnx.load_from_string(divide(model(weight, inline), memoryview(CONTENT), files.keep))
    (moved, same) = divided.graph.initializer
    assert inline == same
    assert "file 0" == moved.external_data[0].value
    moved.external_data[0].value = "weights.bin"
    assert model(weight, inline) == divided.SerializeToString()


@pytest.mark.parametrize(("offset", "length"), [("39999", "2"), ("50000", "1"), ("0", "1 MB")])
def test_places_outside_the_file_are_refused(offset: str, length: str) -> None:
    weight = external("a", location="weights.bin", offset=offset, length=length)
    with pytest.raises(ValueError, match=length):
        divide(model(weight), memoryview(CONTENT), Files().keep)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_graph_raise_nothing_but_a_value_error(content: bytes) -> None:
    with contextlib.suppress(ValueError):
        divide(content, memoryview(CONTENT), Files().keep)
