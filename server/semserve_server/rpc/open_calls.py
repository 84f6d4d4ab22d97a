"""The calls in progress. A drain ends when there are none."""

from __future__ import annotations

import asyncio

from semserve_server.rpc.handlers import Context


class OpenCalls:
    """Counts calls from the start of their handler until their status is sent.

    gRPC also counts calls whose caller never sends the request. Such a call has no handler yet and
    can never be answered.
    """

    def __init__(self) -> None:
        self._open = 0
        self._none = asyncio.Event()

    def add(self, context: Context) -> None:
        """Count a call until it ends."""
        self._open += 1
        context.add_done_callback(self._done)  # type: ignore[arg-type]  # its stubs want a class

    def is_one(self) -> bool:
        """Return whether exactly one call is in progress."""
        return self._open == 1

    async def none(self) -> None:
        """Wait until no call is in progress."""
        if self._open:
            self._none.clear()
            await self._none.wait()

    def _done(self, _context: Context) -> None:
        self._open -= 1
        if not self._open:
            self._none.set()
