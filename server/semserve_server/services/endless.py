"""Health and reflection, whose streams a client may hold open for ever, and which a drain ends."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_Result = TypeVar("_Result")


class Endless:
    """The open streams of both services."""

    def __init__(self) -> None:
        self._open: set[asyncio.Task[Any]] = set()

    def end(self) -> None:
        """End every open stream."""
        for task in self._open:
            task.cancel()

    async def unless_ended(self, waiting: Coroutine[Any, Any, _Result]) -> _Result | None:
        """Wait for something, but no longer than until the end; None where that came first.

        An RPC whose own task is cancelled would never send its status, so what it waits for is a
        task of its own.
        """
        task = asyncio.create_task(waiting)
        self._open.add(task)
        try:
            await asyncio.wait([task])
            return None if task.cancelled() else task.result()
        finally:
            task.cancel()
            self._open.discard(task)
