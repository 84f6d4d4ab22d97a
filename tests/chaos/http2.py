"""HTTP/2 by hand, so that it can be spoken wrong. Names and numbers are those of RFC 9113."""

from __future__ import annotations

import socket
import struct
from enum import IntEnum

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
END_STREAM = 0x1
END_HEADERS = 0x4
LARGEST_WINDOW = 2**31 - 1
INITIAL_WINDOW_SIZE = 4
"""The setting of how much may be sent on a new stream."""


class Kind(IntEnum):
    """Types of frames."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9
    UNKNOWN = 0xEE


def frame(kind: Kind, stream: int = 0, content: bytes = b"", *, flags: int = 0) -> bytes:
    """Write a frame: 24 bits of length, type, flags, 31 bits of stream, content."""
    return struct.pack("!I", len(content))[1:] + bytes((kind, flags)) + number(stream) + content


def number(value: int) -> bytes:
    """Write 32 bits."""
    return struct.pack("!I", value)


def setting(name: int, value: int) -> bytes:
    """Write one setting."""
    return struct.pack("!HI", name, value)


def opening(*settings: bytes) -> bytes:
    """Write what a client begins with."""
    return PREFACE + frame(Kind.SETTINGS, content=b"".join(settings))


def block(*headers: tuple[str, str]) -> bytes:
    """Write headers as HPACK literals without an index, of RFC 7541, 6.2.2."""
    return b"".join(b"\0" + _string(name) + _string(value) for name, value in headers)


def _string(text: str) -> bytes:
    """Write an HPACK string without Huffman coding; its length has a prefix of seven bits."""
    content = text.encode()
    length, rest = len(content), len(content) - 127
    if length < 127:
        return bytes((length,)) + content
    out = bytearray((127,))
    while rest > 127:
        out.append(rest & 127 | 128)
        rest >>= 7
    return bytes((*out, rest)) + content


def call_headers(path: str, *extra: tuple[str, str]) -> bytes:
    """Write the headers of a gRPC call."""
    return block(
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        *extra,
    )


def call(stream: int, path: str, message: bytes, *extra: tuple[str, str]) -> bytes:
    """Write a whole unary call: its headers, its message, its half-close."""
    return frame(Kind.HEADERS, stream, call_headers(path, *extra), flags=END_HEADERS) + frame(
        Kind.DATA, stream, prefixed(message), flags=END_STREAM
    )


def prefixed(message: bytes, *, compressed: int = 0) -> bytes:
    """Put gRPC's five bytes before a message."""
    return bytes((compressed,)) + number(len(message)) + message


def connect(address: str) -> socket.socket:
    """Open a connection that gives up what cannot be sent within some seconds."""
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=5)
