"""A TCP relay that can be cut: both sides then see a reset, as when a machine falls off the net."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator

RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER of no time: closing sends a reset in place of a farewell."""
PIECE = 65_536


class Cable:
    """Relays connections to a server until it is cut."""

    def __init__(self, target: str) -> None:
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._ends: list[asyncio.StreamWriter] = []
        self._relays: set[asyncio.Task[None]] = set()
        self.address = ""

    def cut(self) -> None:
        """Reset every connection at both of its ends."""
        for end in self._ends:
            raw = end.get_extra_info("socket")
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            end.transport.abort()
        self._ends.clear()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
        self._ends += writer, far_writer
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            relay = asyncio.create_task(_relay(source, sink))
            self._relays.add(relay)
            relay.add_done_callback(self._relays.discard)


@contextlib.asynccontextmanager
async def cable(target: str) -> AsyncIterator[Cable]:
    """Lay a cable to a server; it is cut at the end."""
    laid = Cable(target)
    listener = await asyncio.start_server(laid._connect, "127.0.0.1", 0)
    laid.address = f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield laid
    finally:
        listener.close()
        laid.cut()
        await asyncio.gather(*laid._relays)


async def _relay(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await source.read(PIECE):
            sink.write(piece)
            await sink.drain()
    sink.close()
