"""The channel from a worker process to its supervisor: orders and reports."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Literal

Order = Literal["stop", "force_stop", "refresh"]
"""The messages of a supervisor: drain; end the drain; scan for changed bundles."""
Report = Literal["serves", "refuses", "fails"]
"""The messages of a worker process, each with a text: its banner, or the message of a StartupError
or an EngineFailed."""


class SupervisorChannel:
    """The worker's end of the channel. Used on the worker's event loop."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def send(self, kind: Report, text: str) -> None:
        """Send a report, if the supervisor is still there."""
        with contextlib.suppress(OSError):
            self._connection.send((kind, text))

    def handle_orders(self, orders: Mapping[Order, Callable[[], None]]) -> None:
        """Call the handler of each order. Handle the supervisor's death as the order to stop."""

        def receive() -> None:
            try:
                order: Order = self._connection.recv()
            except (EOFError, OSError):
                loop.remove_reader(self._connection.fileno())
                order = "stop"
            orders[order]()

        loop = asyncio.get_running_loop()
        loop.add_reader(self._connection.fileno(), receive)
