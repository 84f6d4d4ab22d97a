"""Several worker processes on one address, and the supervisor that starts and ends them."""

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
from semserve_server.processes.worker_process import WorkerProcess
from semserve_server.supervision.supervisor_channel import Order
from semserve_server.system.listen_address import LARGEST_PORT, check_address, host_port, reserved
from semserve_server.system.unix_socket import UNIX

log = logging.getLogger(__name__)

END_SECONDS = 5.0
"""Seconds that a process may take to end after its drain; then it is killed."""


async def serve_in_processes(config: Config) -> None:
    """Serve in `config.processes` processes until SIGTERM or SIGINT, then let all of them drain.

    The kernel distributes connections over the processes. If one process ends, all end in order, so
    that a service manager restarts the server: otherwise nobody would notice the missing part.

    Raises:
        StartupError: a bundle or a setting is invalid.
        ProcessFailed: a process ended unexpectedly.
    """
    check_processes(config)
    await Supervisor(config).serve()
    log.info("stopped")


class Supervisor:
    """The supervisor. It runs on a separate event loop, in the main thread."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._workers: list[WorkerProcess] = []
        self._stopping = False
        self._changed = asyncio.Event()

    async def serve(self) -> None:
        """Start the processes, and wait until all have ended."""
        self._handle_signals()
        with reserved(self._config.address) as address:
            for number in range(self._config.processes):
                config = worker_config(self._config, address, number)
                self._workers.append(WorkerProcess(config, number, self._changed.set))
                log.info("process %d has PID %s", number, self._workers[-1].pid)
            await self._until(
                lambda: self._over or all("serves" in worker.reports for worker in self._workers)
            )
        if not self._over:
            # All processes serve the same, so one banner is enough.
            log.info("%s", self._workers[0].reports["serves"])
            await self._until(lambda: self._over)
        await self._end()
        self._check_workers()

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for ending in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(ending, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._send, "refresh")

    def _stop(self) -> None:
        if self._stopping:
            self._send("force_stop")
        self._stopping = True
        self._changed.set()

    def _send(self, order: Order) -> None:
        for worker in self._workers:
            worker.send(order)

    @property
    def _over(self) -> bool:
        """Whether serving has ended, or will never start."""
        return self._stopping or len(self._running()) < self._config.processes

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._changed.wait()
            self._changed.clear()

    async def _end(self) -> None:
        """Let every process drain, and kill those that do not end."""
        for worker in self._workers:
            if worker.exit_code is not None and "refuses" not in worker.reports:
                log.error("process %d %s: the others drain", worker.number, worker.exit_reason)
        self._send("stop")
        limit = self._config.drain_delay + self._config.drain_timeout + END_SECONDS
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await self._until(lambda: not self._running())
        for worker in self._running():
            log.error("process %d has not ended in %g s: killed", worker.number, limit)
            worker.kill()
        await self._until(lambda: not self._running())

    def _running(self) -> list[WorkerProcess]:
        return [worker for worker in self._workers if worker.exit_code is None]

    def _check_workers(self) -> None:
        """Raise the error that the end of the processes means, if it was not a clean drain."""
        for worker in self._workers:
            if "refuses" in worker.reports:
                raise StartupError(worker.reports["refuses"])
        # A signal to the whole process group may reach processes that cannot drain yet.
        orderly = {0, -signal.SIGTERM, -signal.SIGINT} if self._stopping else {0}
        failed = [worker for worker in self._workers if worker.exit_code not in orderly]
        if failed:
            raise ProcessFailed(
                ", ".join(f"process {worker.number} {worker.exit_reason}" for worker in failed)
            )


def check_processes(config: Config) -> None:
    """Refuse settings that several processes cannot share.

    Raises:
        ConfigError: with the reason.
    """
    flag = f"--processes {config.processes}"
    if sys.platform == "win32" or not hasattr(socket, "SO_REUSEPORT"):
        raise ConfigError(f"{flag}: processes can share a port only on Linux and macOS")
    if config.address.startswith(UNIX):
        raise ConfigError(f"{flag}: processes cannot share --address {config.address}")
    check_address(config.address)
    if config.allow_model_control:
        raise ConfigError(
            f"{flag}: LoadModel and UnloadModel would reach one process only: leave out "
            "--allow-model-control, change the bundles on the disk, and send SIGHUP or set "
            "--reload-interval"
        )
    if config.metrics_address:
        _, port = host_port("--metrics-address", config.metrics_address)
        if port + config.processes - 1 > LARGEST_PORT:
            raise ConfigError(
                f"{flag}: --metrics-address {config.metrics_address} has no port for each: "
                f"the highest port is {LARGEST_PORT}"
            )


def worker_config(config: Config, address: str, number: int) -> Config:
    """Return the settings of one process: the common address, and its own port for metrics."""
    metrics = config.metrics_address
    if metrics:
        host, port = host_port("--metrics-address", metrics)
        metrics = f"{host}:{port and port + number}"
    return replace(config, address=address, metrics_address=metrics)
