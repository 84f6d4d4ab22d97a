"""Hypothesis strategies for requests: every shape that a message can take, and bytes near them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

DEEPEST = 4
"""How deep messages in messages go; protobuf itself allows a hundred."""
MANY = 3000
"""More elements than a request may have."""

TEXTS = st.sampled_from(
    ["", " ", "a cat", "tiny-embed", "tiny-nli", "echo", "\0", "a\0b", "[SEP] [CLS]", "../../etc",
     "\ufeff\u200d\u202e", "e" + "\u0301" * 500, "中文" * 300, "x" * 70_000, "%s {} \\n", "😀" * 50]
) | st.text(max_size=30)  # fmt: skip
FLOATS = st.floats(width=32)
_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_ENUM: (-(2**31), 2**31 - 1),  # an open enum holds any number
}


def requests(kind: type[Message]) -> SearchStrategy[bytes]:
    """Return whole messages, messages with something changed, and mere bytes."""
    whole = messages(kind.DESCRIPTOR).map(lambda message: message.SerializeToString())
    return whole | mutated(whole) | st.binary(max_size=200)


def messages(kind: Descriptor, depth: int = DEEPEST) -> SearchStrategy[Message]:
    """Return messages of which each field may be set, unset or odd."""
    fields = {field.name: _field(field, depth) for field in kind.fields if depth}
    return st.fixed_dictionaries({}, optional=fields).map(lambda values: _fill(kind, values))


@st.composite
def mutated(draw: DrawFn, contents: SearchStrategy[bytes]) -> bytes:
    """Return bytes in which something was cut out, put in, doubled or flipped."""
    content = bytearray(draw(contents))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        stop = min(start + draw(st.integers(0, 9)), len(content))
        content[start:stop] = draw(
            st.sampled_from([b"", b"\xff", bytes(content[start:stop]) * 2]) | st.binary(max_size=9)
        )
    return bytes(content)


def _fill(kind: Descriptor, values: dict[str, Any]) -> Message:
    message = GetMessageClass(kind)()
    for name, value in values.items():
        field = kind.fields_by_name[name]
        if _is_map(field):
            pairs = {entry.key: entry.value for entry in value}
            place = getattr(message, name)
            for key, entry in pairs.items():
                if isinstance(entry, Message):
                    place[key].CopyFrom(entry)
                else:
                    place[key] = entry
        elif field.is_repeated:
            getattr(message, name).extend(value)
        elif isinstance(value, Message):
            getattr(message, name).CopyFrom(value)
        else:
            setattr(message, name, value)
    return message


def _field(field: FieldDescriptor, depth: int) -> SearchStrategy[Any]:
    one = _one(field, depth)
    if not field.is_repeated:
        return one
    many = one.map(lambda value: [value] * MANY)
    return st.lists(one, max_size=4) if _is_map(field) else st.lists(one, max_size=4) | many


def _one(field: FieldDescriptor, depth: int) -> SearchStrategy[Any]:
    """Return values of a field, were it not repeated."""
    if field.cpp_type in _INTEGERS:
        least, most = _INTEGERS[field.cpp_type]
        return st.integers(max(least, -2), 6) | st.integers(least, most)
    makers: dict[int, Callable[[], SearchStrategy[Any]]] = {
        FieldDescriptor.CPPTYPE_MESSAGE: lambda: messages(field.message_type, depth - 1),
        FieldDescriptor.CPPTYPE_BOOL: st.booleans,
        FieldDescriptor.CPPTYPE_FLOAT: lambda: FLOATS,
        FieldDescriptor.CPPTYPE_DOUBLE: st.floats,
        FieldDescriptor.CPPTYPE_STRING: lambda: (
            TEXTS if field.type == FieldDescriptor.TYPE_STRING else st.binary(max_size=64)
        ),
    }
    return makers[field.cpp_type]()


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry
