"""A server process: started in a group of its own, watched through /proc, and always ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

START_SECONDS = 120.0
STOP_SECONDS = 20.0
POLL_SECONDS = 0.01
LOG_TAIL = 400
"""Characters of what a process said that an error carries."""
PROC = Path("/proc")


class StartError(Exception):
    """A server did not start; the message carries the end of what it said."""


@dataclass(frozen=True, slots=True)
class Process:
    """A running command and the file of what it says."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path
    started: float
    """When it was started, on `time.perf_counter`."""

    @property
    def group(self) -> int:
        """Its process group, which all its children are in."""
        return self.popen.pid

    def wait_for(self, found: Callable[[str], object], what: str) -> str:
        """Return what the process has said once `found` is true of it.

        Raises:
            StartError: the process ended, or the time for a start is over.
        """
        while time.perf_counter() < self.started + START_SECONDS:
            output = self.log.read_text(errors="replace")
            if found(output):
                return output
            if self.popen.poll() is not None:
                raise StartError(
                    f"{self.name} ended with {self.popen.returncode}: {output[-LOG_TAIL:]}"
                )
            time.sleep(POLL_SECONDS)
        raise StartError(
            f"{self.name} gave no {what} within {START_SECONDS:g} s: {output[-LOG_TAIL:]}"
        )

    def resident_bytes(self) -> int:
        """Resident memory of the whole group."""
        pages = 0
        for directory in _group(self.group):
            with contextlib.suppress(OSError):
                pages += int((directory / "statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def proportional_bytes(self) -> int:
        """Resident memory of the whole group, with a shared page divided among its users (Pss)."""
        kibibytes = 0
        for directory in _group(self.group):
            with contextlib.suppress(OSError):
                for line in (directory / "smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        kibibytes += int(line.split()[1])
        return kibibytes * 1024


@contextlib.contextmanager
def running(
    name: str, command: Sequence[str | Path], *, environment: Mapping[str, str] | None = None
) -> Iterator[Process]:
    """Start a command, and at the end stop it and every child of it."""
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "log"
        with log.open("wb") as output:
            process = Process(
                name, _start(command, output, environment or {}), log, time.perf_counter()
            )
        try:
            yield process
        finally:
            _stop(process.popen)


def _start(
    command: Sequence[str | Path], output: IO[bytes], environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    # Settings of the caller's own server must not reach the one that is measured.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SEMSERVE_")}
    return subprocess.Popen(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=clean | dict(environment),
        start_new_session=True,
    )


def _stop(popen: subprocess.Popen[bytes]) -> None:
    """End the group: first the leader with its own handler, then whatever is left."""
    if popen.poll() is None:
        popen.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            popen.wait(STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(popen.pid, signal.SIGKILL)
    popen.wait()


def free_port() -> int:
    """Return a port of the loopback that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def group_cpu_seconds(group: int) -> float:
    """CPU seconds that the living processes of a group have used; 0 where /proc is not there."""
    ticks = 0
    for directory in _group(group):
        with contextlib.suppress(OSError):
            fields = _fields(directory)
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _group(group: int) -> Iterator[Path]:
    """Yield the /proc directory of each process of a group."""
    for directory in PROC.glob("[0-9]*") if group else ():
        with contextlib.suppress(OSError):
            if int(_fields(directory)[2]) == group:
                yield directory


def _fields(directory: Path) -> list[str]:
    """Return the fields of /proc/N/stat that follow the name, which may hold blanks."""
    return (directory / "stat").read_text().rpartition(")")[2].split()
