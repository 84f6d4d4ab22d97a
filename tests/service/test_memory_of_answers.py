"""What a server's memory grows by while nobody reads its answers."""

from __future__ import annotations

import re
import socket
from pathlib import Path

from chaos import http2
from conftest import running_server
from semserve.v1.embedding_pb2 import EmbedRequest

EMBED = "/semserve.v1.EmbeddingService/Embed"
REQUEST = EmbedRequest(texts=["a"] * 1024).SerializeToString()
"""Its answer has 4 MiB, of 1,024 dimensions."""
CALLS = 40
SHARE = 128 * 2**20
"""Half of `--max-unread-bytes`, which one connection may hold."""
FIT = 15
"""Answers that the share holds: each is in memory twice, and is estimated to have a little more
than it has."""
OVERHEAD = 16 * 2**20
"""What a server needs to answer at all: working memory of its runs, of gRPC, and of malloc for each
thread. Up to 14 MB were measured."""


def resident(pid: int) -> int:
    """Return the bytes of a process that are in memory."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


def exactly(connection: socket.socket, size: int) -> bytes:
    """Receive so many bytes."""
    content = b""
    while len(content) < size:
        received = connection.recv(size - len(content))
        assert received, "the server has closed the connection"
        content += received
    return content


def headers_of(connection: socket.socket, calls: int) -> list[bool]:
    """Receive the first headers of each call; tell whether the call ended with them: refused."""
    ended: dict[int, bool] = {}
    while len(ended) < calls:
        head = exactly(connection, 9)
        exactly(connection, int.from_bytes(head[:3], "big"))
        if head[3] == http2.Kind.HEADERS:
            ended.setdefault(int.from_bytes(head[5:], "big"), bool(head[4] & http2.END_STREAM))
    return list(ended.values())


def test_unread_answers_of_one_connection_take_no_more_memory_than_its_share() -> None:
    with running_server("--echo", "1024") as server, http2.connect(server.address) as connection:
        before = resident(server.process.pid)
        connection.sendall(http2.opening(http2.setting(http2.INITIAL_WINDOW_SIZE, 0)))
        for number in range(CALLS):
            connection.sendall(http2.call(2 * number + 1, EMBED, REQUEST))
        refused = headers_of(connection, CALLS)
        grown = resident(server.process.pid) - before
    assert FIT == CALLS - sum(refused)
    assert grown <= SHARE + OVERHEAD
