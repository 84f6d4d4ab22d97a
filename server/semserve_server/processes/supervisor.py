"""Several server processes on one address, and the parent that starts, leads and ends them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import replace

from semserve_server.config import Config
from semserve_server.errors import ConfigError, ProcessFailed, StartupError
from semserve_server.processes.worker_process import Child
from semserve_server.supervision.supervisor_channel import Order
from semserve_server.system.listen_address import LARGEST_PORT, check_address, host_port, reserved
from semserve_server.system.unix_socket import UNIX

log = logging.getLogger(__name__)

END_SECONDS = 5.0
"""What a process may take to end, beyond its drain; then it is killed."""


async def serve_in_processes(config: Config) -> None:
    """Serve in `config.processes` processes until SIGTERM or SIGINT, then let all of them drain.

    The kernel spreads connections over them. What ends one of them ends all, in order, for a
    supervisor to start anew: nobody else would notice that a part of the machine is missing.

    Raises:
        StartupError: a bundle or a setting cannot be served.
        ProcessFailed: a process ended that should not have.
    """
    check_processes(config)
    await Processes(config).serve()
    log.info("stopped")


class Processes:
    """The parent. Used on an event loop of its own, in the main thread."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._children: list[Child] = []
        self._told_to_stop = False
        self._changed = asyncio.Event()

    async def serve(self) -> None:
        """Start the processes, and wait for the end of all of them."""
        self._obey_signals()
        with reserved(self._config.address) as address:
            for number in range(self._config.processes):
                own = share(self._config, address, number)
                self._children.append(Child(own, number, self._changed.set))
                log.info("process %d has PID %s", number, self._children[-1].pid)
            await self._until(
                lambda: self._over or all("serves" in child.said for child in self._children)
            )
        if not self._over:
            # They are all alike, and one's banner is everyone's.
            log.info("%s", self._children[0].said["serves"])
            await self._until(lambda: self._over)
        await self._end()
        self._judge()

    def _obey_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for ending in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(ending, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._tell, "refresh")

    def _stop(self) -> None:
        if self._told_to_stop:
            self._tell("hurry")
        self._told_to_stop = True
        self._changed.set()

    def _tell(self, order: Order) -> None:
        for child in self._children:
            child.tell(order)

    @property
    def _over(self) -> bool:
        """Whether serving has ended, or never begins."""
        return self._told_to_stop or len(self._running()) < self._config.processes

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._changed.wait()
            self._changed.clear()

    async def _end(self) -> None:
        """Let every process drain, and kill those that do not end."""
        for child in self._children:
            if child.exit_code is not None and "refuses" not in child.said:
                log.error("process %d %s: the others drain", child.number, child.fate)
        self._tell("stop")
        patience = self._config.drain_delay + self._config.drain_timeout + END_SECONDS
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._until(lambda: not self._running())
        for child in self._running():
            log.error("process %d has not ended in %g s: killed", child.number, patience)
            child.kill()
        await self._until(lambda: not self._running())

    def _running(self) -> list[Child]:
        return [child for child in self._children if child.exit_code is None]

    def _judge(self) -> None:
        """Raise what the end of the processes means, if it means more than that they drained."""
        for child in self._children:
            if "refuses" in child.said:
                raise StartupError(child.said["refuses"])
        # Who stops a whole group of processes may find some that cannot drain yet.
        orderly = {0, -signal.SIGTERM, -signal.SIGINT} if self._told_to_stop else {0}
        failed = [child for child in self._children if child.exit_code not in orderly]
        if failed:
            raise ProcessFailed(
                ", ".join(f"process {child.number} {child.fate}" for child in failed)
            )


def check_processes(config: Config) -> None:
    """Refuse settings that several processes cannot share.

    Raises:
        ConfigError: as it says.
    """
    asked = f"--processes {config.processes}"
    if sys.platform == "win32" or not hasattr(socket, "SO_REUSEPORT"):
        raise ConfigError(f"{asked}: only Linux and macOS let processes share a port")
    if config.address.startswith(UNIX):
        raise ConfigError(f"{asked}: processes cannot share --address {config.address}")
    check_address(config.address)
    if config.allow_model_control:
        raise ConfigError(
            f"{asked}: LoadModel and UnloadModel would reach one of them: leave out "
            "--allow-model-control, change the bundles on the disk, and send SIGHUP or set "
            "--reload-interval"
        )
    if config.metrics_address:
        _, port = host_port("--metrics-address", config.metrics_address)
        if port + config.processes - 1 > LARGEST_PORT:
            raise ConfigError(
                f"{asked}: --metrics-address {config.metrics_address} has no port for each: "
                f"ports end at {LARGEST_PORT}"
            )


def share(config: Config, address: str, number: int) -> Config:
    """Return the settings of one process: the common address, and a port of its own for metrics."""
    metrics = config.metrics_address
    if metrics:
        host, port = host_port("--metrics-address", metrics)
        metrics = f"{host}:{port and port + number}"
    return replace(config, address=address, metrics_address=metrics)
