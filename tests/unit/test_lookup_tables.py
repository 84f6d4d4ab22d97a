"""Tables are found in the bytes of a graph, and nothing is found in bytes that are none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from semserve_server.rpc.encoding import delimited, varint
from semserve_server.runtime import lookup_tables as tables


def message(*fields: bytes) -> bytes:
    return b"".join(fields)


def number(field: int, value: int) -> bytes:
    return bytes((field << 3,)) + varint(value)


def node(operator: bytes, *inputs: bytes) -> bytes:
    return delimited(1, message(*[delimited(1, one) for one in inputs], delimited(4, operator)))


def tensor(name: bytes, values: np.ndarray, *, kind: int = 1, packed: bool = False) -> bytes:
    shape = [varint(size) for size in values.shape]
    dims = delimited(1, b"".join(shape)) if packed else b"".join(b"\x08" + size for size in shape)
    return delimited(
        5, message(dims, number(2, kind), delimited(8, name), delimited(9, values.tobytes()))
    )


def graph(*fields: bytes) -> bytes:
    return message(number(1, 10), delimited(7, message(*fields)), delimited(8, b"\x10\x12"))


LARGE = np.arange(1 << 18, dtype="<f4").reshape(-1, 64)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("operator", [b"Gather", b"EmbedLayerNormalization"])
def test_a_table_is_found_with_its_shape_and_bytes(operator: bytes, *, packed: bool) -> None:
    content = graph(node(operator, b"words", b"ids"), tensor(b"words", LARGE, packed=packed))
    (table,) = tables.lookup_tables(content)
    assert ("words", LARGE.shape) == (table.name, table.shape)
    assert LARGE.tobytes() == content[table.start : table.stop]


@pytest.mark.parametrize(
    "content",
    [
        graph(node(b"MatMul", b"words"), tensor(b"words", LARGE)),
        graph(node(b"Gather", b"others"), tensor(b"words", LARGE)),
        graph(node(b"Gather", b"words"), tensor(b"words", LARGE[:8])),
        graph(node(b"Gather", b"words"), tensor(b"words", LARGE.astype("<f8"), kind=11)),
        graph(node(b"Gather", b"words")) + b"\xff",
        b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    ],
    ids=["multiplied", "unread", "small", "double", "torn", "endless"],
)
def test_what_is_no_large_float_table_of_a_lookup_is_left_alone(content: bytes) -> None:
    assert [] == tables.lookup_tables(content)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_graph_have_no_tables(content: bytes) -> None:
    assert [] == tables.lookup_tables(content)
