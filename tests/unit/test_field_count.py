"""Messages of too many fields, which are found before they are parsed."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st
from semserve.v1 import classification_pb2, embedding_pb2, similarity_pb2
from semserve_server.rpc.field_count import FEW_BYTES, OTHER_FIELDS, crowded_field
from semserve_server.rpc.parsing import Crowded, parser

MOST = 100
EMPTY_TEXTS = b"\x12\x00" * FEW_BYTES


@pytest.mark.parametrize(
    ("kind", "content", "field"),
    [
        (embedding_pb2.EmbedRequest, EMPTY_TEXTS, "texts"),
        (classification_pb2.ClassifyRequest, EMPTY_TEXTS, "pairs"),
        (similarity_pb2.RankRequest, b"\x1a\x00" * FEW_BYTES, "documents"),
        (similarity_pb2.RankRequest, b"\x0a\x00" * FEW_BYTES, "model"),
        (embedding_pb2.EmbedRequest, b"\x78\x01" * FEW_BYTES, ""),
    ],
    ids=["texts", "pairs", "documents", "one field again and again", "an unknown field"],
)
def test_the_field_of_which_there_are_most_is_named(
    kind: type[Message], content: bytes, field: str
) -> None:
    assert field == crowded_field(kind, content, MOST)
    parsed = parser(kind, MOST)(content)
    assert isinstance(parsed, Crowded)
    assert [field] == [one.field for one in parsed.error().violations]


def test_the_request_that_a_streams_message_wraps_is_counted_too() -> None:
    message = embedding_pb2.StreamEmbedRequest(id="7")
    message.request.texts.extend([""] * FEW_BYTES)
    content = message.SerializeToString()
    assert "texts" == crowded_field(embedding_pb2.StreamEmbedRequest, content, MOST)


@given(
    texts=st.integers(0, MOST),
    extra=st.integers(0, OTHER_FIELDS - 5),
    padding=st.sampled_from([10, 2000]),
)
def test_a_request_within_its_bounds_is_parsed(texts: int, extra: int, padding: int) -> None:
    """Whatever the number of its texts, and although a sender may repeat its other fields."""
    request = embedding_pb2.EmbedRequest(texts=["x" * padding] * texts, dimensions=2)
    content = request.SerializeToString() + b"\x0a\x01m" * extra
    kind = embedding_pb2.EmbedRequest
    assert crowded_field(kind, content, MOST) is None
    parsed = parser(kind, MOST)(content)
    assert isinstance(parsed, kind)
    assert texts == len(parsed.texts)


def test_bytes_that_are_no_message_are_left_to_the_parser() -> None:
    assert crowded_field(embedding_pb2.EmbedRequest, b"\xff" * FEW_BYTES, MOST) is None
