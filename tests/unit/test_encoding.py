"""Spliced bytes equal what protobuf itself writes."""

from __future__ import annotations

import numpy as np
import pytest
from google.rpc import status_pb2
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from semserve.v1 import classification_pb2, common_pb2, embedding_pb2, similarity_pb2
from semserve_server.rpc import encoding as wire

rows = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 70)),
    elements=st.floats(-1000, 1000, width=32),
)
counts = st.integers(0, 2**31 - 1)


@given(rows, st.lists(st.tuples(counts, counts), min_size=4, max_size=4), st.text(max_size=20))
def test_a_response_of_values_is_what_protobuf_writes(
    vectors: np.ndarray, tokens: list[tuple[int, int]], model: str
) -> None:
    model = model or "m"
    error = status_pb2.Status(code=3, message="bad")
    outcomes = [wire.ItemResult(place, None, *tokens[place]) for place in range(len(vectors))]
    outcomes.append(wire.ItemResult(None, error, 0, 0))
    expected = embedding_pb2.EmbedResponse(
        model=model,
        results=[
            embedding_pb2.EmbedResult(
                embedding=embedding_pb2.Embedding(values=row.tolist()),
                token_count=tokens[place][0],
                truncated_tokens=tokens[place][1],
            )
            for place, row in enumerate(vectors)
        ]
        + [embedding_pb2.EmbedResult(error=error)],
        usage=common_pb2.Usage(token_count=7, padded_token_count=300),
    )
    written = wire.response(model, wire.values(vectors), outcomes, wire.usage(7, 300))
    assert expected.SerializeToString(deterministic=True) == written


@pytest.mark.parametrize(("number", "dtype"), [(2, "<f4"), (3, "<f2")])
@given(vectors=rows)
def test_packed_floats_are_little_endian(number: int, dtype: str, vectors: np.ndarray) -> None:
    for row, content in zip(vectors, wire.ENCODERS[number](vectors), strict=True):
        message = embedding_pb2.Embedding.FromString(content)
        assert (row.size, number) == (message.dimensions, message.encoding)
        expected = row.astype(dtype).astype(np.float32).tolist()
        assert expected == np.frombuffer(message.packed, dtype).astype(np.float32).tolist()
        assert message.SerializeToString(deterministic=True) == content


@given(rows)
def test_int8_is_within_half_a_step_of_the_value(vectors: np.ndarray) -> None:
    for row, content in zip(vectors, wire.int8(vectors), strict=True):
        message = embedding_pb2.Embedding.FromString(content)
        values = np.frombuffer(message.packed, np.int8).astype(np.float64) * message.scale
        assert np.abs(values - row).max() <= message.scale * 0.5001
        assert message.SerializeToString(deterministic=True) == content


@given(st.text(max_size=128), rows)
def test_a_stream_reply_is_what_protobuf_writes(name: str, vectors: np.ndarray) -> None:
    outcomes = [wire.ItemResult(place, None, 1, 0) for place in range(len(vectors))]
    response = wire.response("m", wire.values(vectors), outcomes, wire.usage(1, 1))
    expected = embedding_pb2.StreamEmbedResponse(
        id=name, response=embedding_pb2.EmbedResponse.FromString(response)
    )
    written = wire.stream_reply(name, response)
    assert expected.SerializeToString(deterministic=True) == written


@given(
    st.lists(st.text(min_size=1, max_size=60), min_size=1, max_size=4).flatmap(
        lambda labels: st.tuples(
            st.just(labels),
            *[
                arrays.arrays(np.float32, (2, len(labels)), elements=st.floats(width=32))
                for _ in range(2)
            ],
        )
    )
)
def test_a_classification_is_what_protobuf_writes(
    case: tuple[list[str], np.ndarray, np.ndarray],
) -> None:
    labels, logits, scores = case
    written = wire.classifications(labels, logits, scores)
    for content, row, shares in zip(written, logits, scores, strict=True):
        expected = classification_pb2.Classification(
            label=labels[int(np.argmax(shares))],
            scores=[
                classification_pb2.LabelScore(label=label, score=score)
                for label, score in zip(labels, shares.tolist(), strict=True)
            ],
            logits=row.tolist(),
        )
        assert expected.SerializeToString(deterministic=True) == content


@given(
    st.lists(
        st.tuples(st.integers(0, 2**31 - 1), st.floats(width=32, allow_nan=False)), max_size=50
    )
)
def test_hits_are_what_protobuf_writes(found: list[tuple[int, float]]) -> None:
    places = np.array([place for place, _ in found], np.intp)
    scores = np.array([score for _, score in found], np.float32)
    expected = [similarity_pb2.Hit(index=place, score=score) for place, score in found]
    rank = similarity_pb2.RankResponse(hits=expected)
    assert rank.SerializeToString() == wire.hits(2, places, scores)
    result = similarity_pb2.SearchResult(hits=expected)
    assert result.SerializeToString() == wire.hits(1, places, scores)


@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 4), st.integers(1, 40)),
        elements=st.floats(width=32, allow_nan=False),
    )
)
def test_a_matrix_and_a_column_are_what_protobuf_writes(scores: np.ndarray) -> None:
    rows = [similarity_pb2.MatrixRow(scores=row) for row in scores.tolist()]
    matrix = similarity_pb2.MatrixResponse(rows=rows)
    assert matrix.SerializeToString() == wire.matrix_rows(scores)
    column = similarity_pb2.CompareResponse(scores=scores[:, 0].tolist())
    assert column.SerializeToString() == wire.packed_floats(2, scores[:, 0])
