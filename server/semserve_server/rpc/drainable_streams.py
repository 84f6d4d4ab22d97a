"""Health and reflection, whose streams a client may hold open for ever, and which a drain ends."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from semserve_server.errors import Overloaded

MAX_OPEN = 8192
"""Most streams of both services at a time: two for each connection that may be open."""
RETRY_SECONDS = 5.0
"""When a client that found no room should try again."""

_Result = TypeVar("_Result")


class DrainableStreams:
    """The open streams of both services."""

    def __init__(self) -> None:
        self._open: set[asyncio.Task[Any]] = set()
        self.ended = False
        """Whether the server drains, and no stream may wait for anything any more."""

    def end(self) -> None:
        """End every open stream, and each that opens from now on."""
        self.ended = True
        for task in self._open:
            task.cancel()

    def check_room(self) -> None:
        """Refuse a stream before anything is done for it.

        Raises:
            Overloaded: too many are open.
        """
        require_room("health and reflection", len(self._open), MAX_OPEN)

    async def unless_ended(self, waiting: Coroutine[Any, Any, _Result]) -> _Result | None:
        """Wait for something, but no longer than until the end; None where that came first.

        An RPC whose own task is cancelled would never send its status, so what it waits for is a
        task of its own.
        """
        if self.ended:
            waiting.close()
            return None
        task = asyncio.create_task(waiting)
        self._open.add(task)
        try:
            await asyncio.wait([task])
            return None if task.cancelled() else task.result()
        finally:
            task.cancel()
            self._open.discard(task)


def require_room(services: str, streams: int, most: int) -> None:
    """Refuse a stream where as many are open as may be.

    Raises:
        Overloaded: there is no room for another.
    """
    if streams >= most:
        raise Overloaded(
            f"{streams} streams of {services} are open, at most {most} may be",
            retry_after=RETRY_SECONDS,
            cause="open_streams",
        )
