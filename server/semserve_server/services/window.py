"""What of one stream is in flight: read, and its answer not yet written."""

from __future__ import annotations

import asyncio


class Window:
    """Counts messages and their bytes, and tells when there is room for one more."""

    def __init__(self, *, max_requests: int, max_bytes: int) -> None:
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._requests = 0
        self._bytes = 0
        self._freed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Window {self._requests} requests, {self._bytes} bytes>"

    async def room(self) -> None:
        """Wait until one more message may be read. Only the stream's reader waits."""
        while self._requests >= self._max_requests or self._bytes >= self._max_bytes:
            self._freed.clear()
            await self._freed.wait()

    def take(self, size: int) -> None:
        """Count a message of so many bytes in. The last one may go past the bound, by itself."""
        self._requests += 1
        self._bytes += size

    def free(self, size: int) -> None:
        """Count it out."""
        self._requests -= 1
        self._bytes -= size
        self._freed.set()
