"""Flow control of one stream: messages that were read, and replies that were not sent yet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Window:
    """Counts messages, their bytes and the bytes of their replies, and waits for room."""

    def __init__(self, *, max_requests: int, max_bytes: int, max_unread_bytes: int) -> None:
        """Create an empty window.

        Args:
            max_requests: most messages that are read and not answered.
            max_bytes: bytes of such messages at which reading stops.
            max_unread_bytes: most bytes of their replies, unless a single reply is larger.
        """
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._max_unread = max_unread_bytes
        self._requests = 0
        self._bytes = 0
        self._unread = 0
        self._freed = asyncio.Event()
        self._turn = asyncio.Lock()
        self._in_turn = 0

    def __repr__(self) -> str:
        return (
            f"<Window {self._requests} requests, {self._bytes} bytes, "
            f"{self._unread} bytes of answers>"
        )

    async def room(self) -> None:
        """Wait until one more message may be read. Only the stream's reader waits here."""
        while (
            self._requests >= self._max_requests
            or self._bytes >= self._max_bytes
            or self._turn.locked()
        ):
            await self._change()

    def take(self, size: int) -> None:
        """Count a message in. The last one may exceed the byte limit."""
        self._requests += 1
        self._bytes += size

    def free(self, size: int) -> None:
        """Count a message out."""
        self._requests -= 1
        self._bytes -= size
        self._freed.set()

    def has_unread_room(self, size: int) -> bool:
        """Return whether a reply of `size` bytes fits now, and no other reply waits for room."""
        return not self._in_turn and self._fits(size)

    @asynccontextmanager
    async def unread_room(self, size: int) -> AsyncIterator[None]:
        """Wait until a reply of `size` bytes fits. No other reply fits until the block ends.

        Replies are admitted one at a time in their order, and no message is read meanwhile.
        """
        self._in_turn += 1
        try:
            async with self._turn:
                while not self._fits(size):
                    await self._change()
                yield
        finally:
            self._in_turn -= 1
            self._freed.set()

    def change_unread(self, by: int) -> None:
        """Add bytes of replies. A negative number removes bytes."""
        self._unread += by
        if by < 0:
            self._freed.set()

    def _fits(self, size: int) -> bool:
        return not self._unread or self._unread + size <= self._max_unread

    async def _change(self) -> None:
        """Wait until something was freed. At most two tasks wait: the reader and one reply."""
        self._freed.clear()
        await self._freed.wait()
