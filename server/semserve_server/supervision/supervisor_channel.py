"""The parent of a server process, where several processes serve together: told, and obeyed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Literal

Order = Literal["stop", "hurry", "refresh"]
"""What a parent says: drain; end the drain; look for changed bundles."""
Kind = Literal["serves", "refuses", "fails"]
"""What a child says, each with a text: its banner, a StartupError's or an EngineFailed's."""


class Parent:
    """Used on the child's event loop."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def tell(self, kind: Kind, text: str) -> None:
        """Say something, if it still listens."""
        with contextlib.suppress(OSError):
            self._connection.send((kind, text))

    def obey(self, orders: Mapping[Order, Callable[[], None]]) -> None:
        """Do what it has said and will say; stop where it dies, for nobody else would end us."""

        def hear() -> None:
            try:
                order: Order = self._connection.recv()
            except (EOFError, OSError):
                loop.remove_reader(self._connection.fileno())
                order = "stop"
            orders[order]()

        loop = asyncio.get_running_loop()
        loop.add_reader(self._connection.fileno(), hear)
