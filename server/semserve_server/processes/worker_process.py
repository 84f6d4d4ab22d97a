"""A worker process: the code that runs in it, and the supervisor's handle on it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Callable
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection

from semserve_server.config import Config
from semserve_server.errors import EngineFailed, StartupError
from semserve_server.frontend.event_loop import new_event_loop
from semserve_server.observability import logs
from semserve_server.supervision.event_loop import MainLoop
from semserve_server.supervision.supervisor_channel import Order, Report, SupervisorChannel

log = logging.getLogger(__name__)

# A fork would copy the locks of the supervisor's threads without the threads.
_SPAWN = get_context("spawn")


class WorkerProcess:
    """A worker process from the supervisor's side. Used on the supervisor's event loop."""

    def __init__(self, config: Config, number: int, on_change: Callable[[], None]) -> None:
        """Start the process.

        Args:
            config: its settings.
            number: its index, from 0.
            on_change: called when it has sent a report or ended.
        """
        self.number = number
        self.reports: dict[Report, str] = {}
        """Its reports, by kind."""
        self.exit_code: int | None = None
        """None while it runs; negative for the signal that killed it."""
        self._on_change = on_change
        self._connection, worker_end = _SPAWN.Pipe()
        self._process = _SPAWN.Process(
            target=_serve, args=(config, number, worker_end), name=f"semserve {number}"
        )
        self._process.start()
        worker_end.close()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._connection.fileno(), self._receive)
        loop.add_reader(self._process.sentinel, self._ended)

    @property
    def pid(self) -> int | None:
        """Process id."""
        return self._process.pid

    @property
    def exit_reason(self) -> str:
        """How it ended, for people."""
        if "fails" in self.reports:
            return f"failed: {self.reports['fails']}"
        if self.exit_code is not None and self.exit_code < 0:
            return f"was killed by {signal.Signals(-self.exit_code).name}"
        return f"ended with exit code {self.exit_code}"

    def send(self, order: Order) -> None:
        """Send an order, if the process is still there."""
        with contextlib.suppress(OSError):
            self._connection.send(order)

    def kill(self) -> None:
        """End the process immediately."""
        self._process.kill()

    def _receive(self) -> None:
        try:
            self._add_report(self._connection.recv())
        except (EOFError, OSError):
            asyncio.get_running_loop().remove_reader(self._connection.fileno())
        self._on_change()

    def _add_report(self, message: tuple[Report, str]) -> None:
        kind, text = message
        self.reports[kind] = text

    def _ended(self) -> None:
        asyncio.get_running_loop().remove_reader(self._process.sentinel)
        with contextlib.suppress(EOFError, OSError):
            while self._connection.poll():  # its last words
                self._add_report(self._connection.recv())
        self._process.join()
        self.exit_code = self._process.exitcode
        self._on_change()


def _serve(config: Config, number: int, connection: Connection) -> None:
    """Serve in this process until the supervisor orders the end. The exit code is a server's."""
    logs.configure(config.log_level, config.log_format, process=number)
    supervisor = SupervisorChannel(connection)
    from semserve_server.server import serve  # noqa: PLC0415  (the supervisor needs none of it)

    loop = MainLoop(partial(new_event_loop, config.frontend))
    try:
        loop.run(serve(config, supervisor))
    except StartupError as error:
        supervisor.send("refuses", str(error))
        sys.exit(loop.end(2))
    except EngineFailed as error:
        supervisor.send("fails", str(error))
        loop.end(1, at_once=True)
    except Exception:
        log.exception("the server failed. This is a bug.")
        sys.exit(loop.end(1))
    loop.end(0)
