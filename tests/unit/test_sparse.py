"""Sparse rows and their bytes on the wire, held against plain Python and protobuf."""

from __future__ import annotations

import numpy as np
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from semserve.v1.embedding_pb2 import EmbedSparseResult
from semserve_server.errors import InvalidRequest
from semserve_server.rpc.encoding import ItemResult, packed_varints, sparse_result, weight_bytes
from semserve_server.rpc.status import failure
from semserve_server.runtime.encoding import Encoding
from semserve_server.runtime.sparse import SparseRow, sparse_row, sparse_rows

WEIGHTS = st.one_of(st.just(0.0), st.floats(0, 8, width=32), st.sampled_from([1.0, 2.0]))
ROWS = st.integers(1, 60).flatmap(lambda size: arrays(np.float32, size, elements=WEIGHTS))


@given(ROWS, st.integers(0, 70))
def test_a_row_keeps_the_largest_weights_of_equal_ones_the_first(row, most):
    order = sorted(np.flatnonzero(row > 0).tolist(), key=lambda place: (-row[place], place))
    columns = sorted(order[:most] if most else order)
    sparse = sparse_row(row, most)
    assert columns == sparse.indices.tolist()
    assert [row[place] for place in columns] == sparse.values.tolist()
    assert (np.uint32, np.float32) == (sparse.indices.dtype, sparse.values.dtype)


def test_each_row_of_a_batch_keeps_as_many_as_its_text_wants():
    rows = np.array([[3, 1, 2], [3, 1, 2], [0, -1, 0]], np.float32)
    encodings = [Encoding([1], [0], most_weights=most) for most in (2, 0, 1)]
    vectors = sparse_rows(rows, encodings)
    assert [[0, 2], [0, 1, 2], []] == [vector.indices.tolist() for vector in vectors]


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=50))
def test_packed_integers_are_those_of_protobuf(values):
    (tag_and_length, size) = (2, len(EmbedSparseResult(indices=values).SerializeToString()))
    written = packed_varints(np.array(values, np.uint32))
    expected = EmbedSparseResult(indices=values).SerializeToString()
    assert expected.endswith(written)
    assert size - len(written) >= tag_and_length


@given(
    st.lists(
        st.tuples(st.integers(0, 2**31), st.floats(0.0, 9, width=32, exclude_min=True)),
        max_size=20,
        unique_by=lambda pair: pair[0],
    ),
    st.integers(0, 5000),
    st.integers(0, 300),
    st.booleans(),
)
def test_a_result_is_what_protobuf_writes(weights, tokens, truncated, named):
    indices, values = [index for index, _ in weights], [value for _, value in weights]
    row = SparseRow(np.array(indices, np.uint32), np.array(values, np.float32))
    written = sparse_result(row, ItemResult(0, None, tokens, truncated), str if named else None)
    expected = EmbedSparseResult(
        indices=indices,
        values=values,
        token_count=tokens,
        truncated_tokens=truncated,
        tokens=[str(index) for index in indices] if named else [],
    )
    assert expected.SerializeToString() == written


def test_a_text_that_failed_has_its_status_alone():
    status = failure(InvalidRequest.of("texts[0]", "is empty")).status
    result = sparse_result(None, ItemResult(None, status, 0, 0), None)
    written = EmbedSparseResult.FromString(result)
    assert {"error"} == set(MessageToDict(written))
    assert status == written.error


@given(st.integers(1, 2**31 - 1))
def test_a_weight_takes_no_more_bytes_than_are_reserved_for_it(vocabulary):
    last = np.array([vocabulary - 1], np.uint32)
    assert len(packed_varints(last)) + 4 == weight_bytes(vocabulary)
