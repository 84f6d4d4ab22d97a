"""One of several server processes: what runs in it, and its parent's hold on it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection

from semserve_server.config import Config
from semserve_server.errors import EngineFailed, StartupError
from semserve_server.observability import logs
from semserve_server.supervision.event_loop import MainLoop
from semserve_server.supervision.supervisor_channel import Kind, Order, Parent

log = logging.getLogger(__name__)

# A fork would copy the locks of the parent's threads without the threads.
_SPAWN = get_context("spawn")


class Child:
    """A server process as its parent sees it. Used on the parent's event loop."""

    def __init__(self, config: Config, number: int, on_change: Callable[[], None]) -> None:
        """Start it.

        Args:
            config: its own settings.
            number: its name among its kind, from 0.
            on_change: called when it has said something or ended.
        """
        self.number = number
        self.said: dict[Kind, str] = {}
        """What it has said, by what that means."""
        self.exit_code: int | None = None
        """None while it runs; negative for the signal that killed it."""
        self._on_change = on_change
        self._connection, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(
            target=_serve, args=(config, number, theirs), name=f"semserve {number}"
        )
        self._process.start()
        theirs.close()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._connection.fileno(), self._hear)
        loop.add_reader(self._process.sentinel, self._ended)

    @property
    def pid(self) -> int | None:
        """What the system calls it."""
        return self._process.pid

    @property
    def fate(self) -> str:
        """How it ended, for people."""
        if "fails" in self.said:
            return f"failed: {self.said['fails']}"
        if self.exit_code is not None and self.exit_code < 0:
            return f"was killed by {signal.Signals(-self.exit_code).name}"
        return f"ended with exit code {self.exit_code}"

    def tell(self, order: Order) -> None:
        """Give an order, if it still listens."""
        with contextlib.suppress(OSError):
            self._connection.send(order)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def _hear(self) -> None:
        try:
            self._take(self._connection.recv())
        except (EOFError, OSError):
            asyncio.get_running_loop().remove_reader(self._connection.fileno())
        self._on_change()

    def _take(self, word: tuple[Kind, str]) -> None:
        kind, text = word
        self.said[kind] = text

    def _ended(self) -> None:
        asyncio.get_running_loop().remove_reader(self._process.sentinel)
        with contextlib.suppress(EOFError, OSError):
            while self._connection.poll():  # its last words
                self._take(self._connection.recv())
        self._process.join()
        self.exit_code = self._process.exitcode
        self._on_change()


def _serve(config: Config, number: int, connection: Connection) -> None:
    """Serve in this process until its parent says otherwise; the exit code is that of a server."""
    logs.configure(config.log_level, config.log_format, process=number)
    parent = Parent(connection)
    from semserve_server.server import serve  # noqa: PLC0415  (the parent needs none of it)

    loop = MainLoop()
    try:
        loop.run(serve(config, parent))
    except StartupError as error:
        parent.tell("refuses", str(error))
        sys.exit(loop.end(2))
    except EngineFailed as error:
        parent.tell("fails", str(error))
        loop.end(1, at_once=True)
    except Exception:
        log.exception("the server failed. This is a bug.")
        sys.exit(loop.end(1))
    loop.end(0)
