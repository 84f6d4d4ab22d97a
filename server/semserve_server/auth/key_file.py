"""Reads a key file, and appends lines to it."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from semserve_server.auth import api_key as keys
from semserve_server.auth.api_key import Key

MAX_FILE_BYTES = 16 * 1024 * 1024
"""Most bytes of a key file: about a hundred thousand keys."""


def read_keys(path: Path) -> dict[str, Key]:
    """Return the keys of a file, by name.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is too large, is not text, has an invalid line, or has no key. A file
            that is being rewritten is empty for a moment, and that must not lock out every caller.
    """
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ValueError(f"over {MAX_FILE_BYTES} bytes")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
    found = keys.parse(text)
    if not found:
        raise ValueError("has no key")
    return found


def add_key(path: Path, key: Key) -> None:
    """Append the line of a key to a file. The file is created if it does not exist.

    The function waits for other processes that add keys, so that no name gets into the file twice.

    Raises:
        OSError: the file cannot be written.
        ValueError: as `read_keys`, or the file has a key of that name.
    """
    # A new file is readable only by its owner.
    with _locked(path) as file:
        present = os.pread(file, MAX_FILE_BYTES + 1, 0)
        if present and key.name in read_keys(path):
            raise ValueError(f"has a key {key.name!r} already: use another name, or remove it")
        start = "" if not present or present.endswith(b"\n") else "\n"
        line = f"{start}{key}\n".encode()
        # A single write, so that a server that reads the file meanwhile sees all of it or nothing.
        if os.write(file, line) != len(line):
            os.ftruncate(file, len(present))
            raise OSError(errno.ENOSPC, "no space is left for another key")


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Open a key file for appending, with an exclusive lock. The file is created if missing."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        if sys.platform != "win32":
            import fcntl  # noqa: PLC0415  (Windows has none)

            fcntl.flock(file, fcntl.LOCK_EX)
            while not os.path.samestat(os.fstat(file), path.stat()):
                # Another process has replaced the file while this one waited for the lock.
                os.close(file)
                file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
                fcntl.flock(file, fcntl.LOCK_EX)
        yield file
    finally:
        os.close(file)
