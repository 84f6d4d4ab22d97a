"""Finding the strings that protobuf refuses without naming them."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from semserve.v1 import classification_pb2, embedding_pb2
from semserve_server.rpc.invalid_utf8 import invalid_strings, salvage_string


def field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2, len(content)]) + content


def test_a_text_of_a_list_is_named_by_its_place() -> None:
    content = field(1, b"model") + field(2, b"good") + field(2, b"bad\xff") + field(2, b"\xc3\x28")
    with pytest.raises(DecodeError):
        embedding_pb2.EmbedRequest.FromString(content)
    assert ["texts[1]", "texts[2]"] == invalid_strings(embedding_pb2.EmbedRequest, content)


def test_a_string_of_a_nested_message_is_named_by_its_path() -> None:
    pair = field(1, b"good") + field(2, b"\xfe")
    content = field(2, field(1, b"good")) + field(2, pair)
    assert ["pairs[1].hypothesis"] == invalid_strings(classification_pb2.ClassifyRequest, content)


@given(st.binary(max_size=200))
def test_any_bytes_are_taken_without_an_error(content: bytes) -> None:
    assert isinstance(invalid_strings(classification_pb2.StreamClassifyRequest, content), list)
    assert isinstance(salvage_string(content, field=1, max_bytes=128), str)


@given(st.lists(st.text(max_size=30), min_size=1, max_size=5))
def test_good_messages_have_no_bad_strings(texts: list[str]) -> None:
    message = embedding_pb2.StreamEmbedRequest(
        id="a", request=embedding_pb2.EmbedRequest(texts=texts, dimensions=3)
    )
    assert [] == invalid_strings(type(message), message.SerializeToString())


def test_the_id_of_a_bad_message_is_salvaged() -> None:
    content = field(1, b"seven") + field(2, field(2, b"\xff"))
    assert "seven" == salvage_string(content, field=1, max_bytes=128)
    assert "" == salvage_string(content, field=1, max_bytes=3)
    assert "" == salvage_string(field(1, b"\xff"), field=1, max_bytes=128)
