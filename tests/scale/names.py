"""A DNS server for one name, whose addresses the test changes while it runs."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import struct
from collections.abc import AsyncIterator
from typing import Any

HEADER = struct.Struct("!6H")
ANSWERED = 0x8180
"""Flags of a reply: an answer, recursion asked for and available, no error."""
A, IN = 1, 1
NAME = 0xC000 | HEADER.size
"""In place of a name: that of the question, which follows the header (RFC 1035, section 4.1.4)."""


class Names(asyncio.DatagramProtocol):
    """Answers each question for IPv4 addresses with all `addresses`, and others with none."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self._transport: Any = None

    @property
    def server(self) -> str:
        """Where it listens, as HOST:PORT."""
        host, port = self._transport.get_extra_info("sockname")
        return f"{host}:{port}"

    def connection_made(self, transport: Any) -> None:
        """Keep the socket."""
        self._transport = transport

    def datagram_received(self, data: bytes, sender: Any) -> None:
        """Answer a question."""
        self._transport.sendto(_reply(data, self.addresses), sender)


def _reply(data: bytes, addresses: list[str]) -> bytes:
    number, *_ = HEADER.unpack_from(data)
    end = data.index(b"\0", HEADER.size) + 5
    question = data[HEADER.size : end]
    kind, _ = struct.unpack("!2H", question[-4:])
    records = [
        struct.pack("!3HIH", NAME, A, IN, 0, 4) + ipaddress.ip_address(one).packed
        for one in (addresses if kind == A else ())
    ]
    header = HEADER.pack(number, ANSWERED, 1, len(records), 0, 0)
    return header + question + b"".join(records)


@contextlib.asynccontextmanager
async def names(*addresses: str) -> AsyncIterator[Names]:
    """Serve DNS on a free port of the loopback."""
    loop = asyncio.get_running_loop()
    transport, served = await loop.create_datagram_endpoint(Names, local_addr=("127.0.0.1", 0))
    served.addresses = list(addresses)
    try:
        yield served
    finally:
        transport.close()
