"""The streams of health and reflection: clients may hold them open, and a drain ends them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from semserve_server.errors import Overloaded

MAX_OPEN = 8192
"""Most open streams of both services: two for each possible connection."""
RETRY_SECONDS = 5.0
"""Retry delay for a client that found too many open streams."""

_Result = TypeVar("_Result")


class DrainableStreams:
    """The open streams of both services."""

    def __init__(self) -> None:
        self._open: set[asyncio.Task[Any]] = set()
        self.ended = False
        """Whether the server drains; no stream may wait any more."""

    def end(self) -> None:
        """End every open stream, and every stream that opens from now on."""
        self.ended = True
        for task in self._open:
            task.cancel()

    def check_room(self) -> None:
        """Refuse a stream before any work for it.

        Raises:
            Overloaded: too many streams are open.
        """
        require_room("health and reflection", len(self._open), MAX_OPEN)

    async def unless_ended(self, waiting: Coroutine[Any, Any, _Result]) -> _Result | None:
        """Wait for a coroutine, at most until the drain. None if the drain came first.

        If the task of an RPC is cancelled, its status is never sent. So the coroutine runs in a
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
    """Refuse a stream if the limit is reached.

    Raises:
        Overloaded: too many streams are open.
    """
    if streams >= most:
        raise Overloaded(
            f"{streams} streams of {services} are open, at most {most} may be",
            retry_after=RETRY_SECONDS,
            cause="open_streams",
        )
