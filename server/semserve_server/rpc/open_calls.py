"""The calls that are being answered, so that a drain ends when there are none."""

from __future__ import annotations

import asyncio

from semserve_server.rpc.handlers import Context


class OpenCalls:
    """Counts calls from the start of their handler until their status is sent.

    gRPC counts others too: a call whose caller never sends its request has no handler yet, and
    nobody could answer it.
    """

    def __init__(self) -> None:
        self._open = 0
        self._none = asyncio.Event()
        self._none.set()

    def add(self, context: Context) -> None:
        """Count a call until it is done."""
        self._open += 1
        self._none.clear()
        context.add_done_callback(self._done)  # type: ignore[arg-type]  # its stubs want a class

    async def none(self) -> None:
        """Wait until there are none."""
        await self._none.wait()

    def _done(self, _context: Context) -> None:
        self._open -= 1
        if not self._open:
            self._none.set()
