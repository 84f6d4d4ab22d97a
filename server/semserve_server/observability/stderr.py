"""Writes to standard error without waiting for its reader.

A pipe that is not read is full after 64 KiB, and then every write waits: a log line on the event
loop, or a message from one of gRPC's threads. So log lines go through a bounded queue to a thread
that writes them, and the file descriptor is made non-blocking for other writers.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import stat
import struct
import sys
import threading
import time
from collections import deque

STDERR = 2
"""File descriptor of standard error."""
MAX_LINES = 10_000
"""Most queued lines; further ones are dropped and counted."""
MAX_CHARACTERS = 4_194_304
"""Most queued characters."""
FLUSH_SECONDS = 1.0
"""Most seconds that the process waits at its end for the queued lines."""
REPORT_SECONDS = 10.0
"""Least seconds between two reports of dropped lines while more are dropped."""
SOCKET_MICROSECONDS = 10_000
"""Most time that a write to a socket waits."""


class QueuedHandler(logging.Handler):
    """Formats a record in the context of the request, and queues the line for a thread."""

    def __init__(self, file: int = STDERR) -> None:
        """Start the thread.

        Args:
            file: file descriptor; may be non-blocking.
        """
        super().__init__()
        self.dropped = 0
        """Number of lines that were dropped since the start."""
        self._file = file
        self._lines: deque[str] = deque()
        self._characters = 0
        self._changed = threading.Condition()
        self._writing = False
        self._reported = 0
        self._reported_at = -REPORT_SECONDS
        threading.Thread(target=self._serve, name="log-writer", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a line, or drop it if the queue is full."""
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001  (a record that cannot be formatted must harm nobody)
            line = f"a log record of {record.name} cannot be formatted: {record.msg!r:.200}"
        self.write(line)

    def write(self, line: str) -> None:
        """Queue an unformatted line, or drop it if the queue is full."""
        with self._changed:
            if len(self._lines) >= MAX_LINES or self._characters + len(line) > MAX_CHARACTERS:
                self.dropped += 1
                return
            self._lines.append(line)
            self._characters += len(line)
            self._changed.notify_all()

    def drain(self, seconds: float) -> bool:
        """Wait until every line is written, at most `seconds`. Return whether all are."""
        with self._changed:
            return self._changed.wait_for(self._idle, seconds)

    def close(self) -> None:
        """Write the queued lines, with a time limit. `logging` calls this when Python exits."""
        self.drain(FLUSH_SECONDS)
        super().close()

    def _idle(self) -> bool:
        return not self._lines and not self._writing

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._lines)
                line = self._lines.popleft()
                self._characters -= len(line)
                self._writing = True
            if not self._write(line):
                with self._changed:
                    self.dropped += 1
            self._report_dropped()

    def _report_dropped(self) -> None:
        """Report dropped lines when no more are dropped, and regularly while more are."""
        with self._changed:
            dropped = self.dropped - self._reported
            now = time.monotonic()
            if not dropped or (self._lines and now < self._reported_at + REPORT_SECONDS):
                return
            self._reported, self._reported_at = self.dropped, now
        message = "%d log lines were dropped: standard error was not read fast enough"
        record = logging.LogRecord(
            __name__, logging.WARNING, __file__, 0, message, (dropped,), exc_info=None
        )
        if self.filter(record):
            self._write(self.format(record))

    def _write(self, line: str) -> bool:
        """Write a line, however long that takes. False if it can never be written."""
        left = memoryview(f"{line}\n".encode(errors="backslashreplace"))
        while left:
            try:
                left = left[os.write(self._file, left) :]
            except BlockingIOError:
                select.select([], [self._file], [])
            except OSError:  # its reader is gone, or the disk is full
                return False
        return True


def write_line(line: str) -> None:
    """Write a line that is not a log record, after the queued lines."""
    handler = _handler()
    if handler is None:
        sys.stderr.write(f"{line}\n")
    else:
        handler.write(line)


def flush(seconds: float = FLUSH_SECONDS) -> None:
    """Wait until all log lines are written, at most `seconds`. Takes no lock of `logging`."""
    handler = _handler()
    if handler is not None:
        handler.drain(seconds)


def dropped_lines() -> int:
    """Return the number of dropped log lines."""
    handler = _handler()
    return handler.dropped if handler is not None else 0


def _handler() -> QueuedHandler | None:
    for handler in logging.getLogger().handlers:
        if isinstance(handler, QueuedHandler):
            return handler
    return None


def make_nonblocking(file: int = STDERR) -> None:
    """Make writes to standard error non-blocking in this process, if the system allows it.

    A pipe or terminal is reopened, so that other processes with the same file keep it blocking. A
    socket, as systemd provides, waits for 10 ms. A regular file waits for its disk.
    """
    try:
        mode = os.fstat(file).st_mode
        if stat.S_ISSOCK(mode):
            with socket.socket(fileno=os.dup(file)) as duplicate:
                timeout = struct.pack("@ll", 0, SOCKET_MICROSECONDS)
                duplicate.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout)
        elif stat.S_ISFIFO(mode) or os.isatty(file):
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY
            reopened = os.open(f"/proc/self/fd/{file}", flags)
            os.dup2(reopened, file)
            os.close(reopened)
    except OSError:  # it is closed, there is no /proc, or it is another user's: the queue must do
        return
