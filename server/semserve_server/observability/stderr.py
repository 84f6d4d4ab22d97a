"""Standard error, written to without ever waiting for whoever reads it.

A pipe that nobody reads is full after 64 KiB, and then whoever writes to it waits: an event loop
that logs, or a thread of gRPC's that complains. So log lines go through a bounded queue to a thread
that writes them, and the file descriptor itself is made not to wait, for what others write to it.
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
"""The file descriptor of standard error."""
MAX_LINES = 10_000
"""Most lines that wait to be written; further ones are dropped and counted."""
MAX_CHARACTERS = 4_194_304
"""Most characters that wait to be written."""
FLUSH_SECONDS = 1.0
"""For how long the end of the process waits for lines to be written."""
TELL_SECONDS = 10.0
"""How often at most it is told that lines were dropped, while more still are."""
SOCKET_MICROSECONDS = 10_000
"""How long a write to a socket may wait."""


class QueuedHandler(logging.Handler):
    """Formats a record at once, where its context is, and lets a thread write the line."""

    def __init__(self, file: int = STDERR) -> None:
        """Start the thread.

        Args:
            file: descriptor to write to. It may be one that does not wait.
        """
        super().__init__()
        self.dropped = 0
        """Lines that were not written, since the start."""
        self._file = file
        self._lines: deque[str] = deque()
        self._characters = 0
        self._changed = threading.Condition()
        self._writing = False
        self._told = 0
        self._told_at = -TELL_SECONDS
        threading.Thread(target=self._serve, name="log-writer", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a line, or drop it where too much waits already."""
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001  (a record that cannot be formatted must harm nobody)
            line = f"a log record of {record.name} cannot be formatted: {record.msg!r:.200}"
        self.write(line)

    def write(self, line: str) -> None:
        """Queue a line as it is, or drop it where too much waits already."""
        with self._changed:
            if len(self._lines) >= MAX_LINES or self._characters + len(line) > MAX_CHARACTERS:
                self.dropped += 1
                return
            self._lines.append(line)
            self._characters += len(line)
            self._changed.notify_all()

    def drain(self, seconds: float) -> bool:
        """Wait until every line is written, at most so long; tell whether they are."""
        with self._changed:
            return self._changed.wait_for(self._idle, seconds)

    def close(self) -> None:
        """Write what waits, within a bound; `logging` calls it when Python exits."""
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
            self._tell_dropped()

    def _tell_dropped(self) -> None:
        """Say that lines were dropped, once no more are, and now and then while more are."""
        with self._changed:
            dropped = self.dropped - self._told
            now = time.monotonic()
            if not dropped or (self._lines and now < self._told_at + TELL_SECONDS):
                return
            self._told, self._told_at = self.dropped, now
        message = "%d log lines were dropped: standard error was not read fast enough"
        record = logging.LogRecord(
            __name__, logging.WARNING, __file__, 0, message, (dropped,), exc_info=None
        )
        if self.filter(record):
            self._write(self.format(record))

    def _write(self, line: str) -> bool:
        """Write a line, however long that takes; False where it never will be."""
        left = memoryview(f"{line}\n".encode(errors="backslashreplace"))
        while left:
            try:
                left = left[os.write(self._file, left) :]
            except BlockingIOError:
                select.select([], [self._file], [])
            except OSError:  # its reader is gone, or the disk is full
                return False
        return True


def say(line: str) -> None:
    """Write a line that is no log record, after those that wait already."""
    handler = _handler()
    if handler is None:
        sys.stderr.write(f"{line}\n")
    else:
        handler.write(line)


def flush(seconds: float = FLUSH_SECONDS) -> None:
    """Wait until all log lines are written, at most so long. Takes no lock of `logging`."""
    handler = _handler()
    if handler is not None:
        handler.drain(seconds)


def dropped_lines() -> int:
    """Return how many log lines were not written."""
    handler = _handler()
    return handler.dropped if handler is not None else 0


def _handler() -> QueuedHandler | None:
    for handler in logging.getLogger().handlers:
        if isinstance(handler, QueuedHandler):
            return handler
    return None


def never_wait(file: int = STDERR) -> None:
    """Let no write to standard error wait, by whomever in this process, where that can be had.

    A pipe or a terminal is opened anew, so that other processes which have it keep theirs as it
    is. A socket, as systemd gives, waits for a hundredth of a second. A file waits for its disk.
    """
    try:
        mode = os.fstat(file).st_mode
        if stat.S_ISSOCK(mode):
            with socket.socket(fileno=os.dup(file)) as ours:
                timeout = struct.pack("@ll", 0, SOCKET_MICROSECONDS)
                ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout)
        elif stat.S_ISFIFO(mode) or os.isatty(file):
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY
            anew = os.open(f"/proc/self/fd/{file}", flags)
            os.dup2(anew, file)
            os.close(anew)
    except OSError:  # it is closed, there is no /proc, or it is another user's: the queue must do
        return
