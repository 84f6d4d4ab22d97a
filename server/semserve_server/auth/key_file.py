"""A key file on disk: read whole, or longer by a line."""

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
"""Most bytes of a key file: a hundred thousand keys."""


def read_keys(path: Path) -> dict[str, Key]:
    """Return the keys of a file, by name.

    Raises:
        OSError: it cannot be read.
        ValueError: it is too large or no text, a line is wrong, or there is none. A file that is
            being written anew is empty for a moment, which must not lock everybody out.
    """
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ValueError(f"over {MAX_FILE_BYTES} bytes")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
    found = keys.parse(text)
    if not found:
        raise ValueError("holds no key")
    return found


def add_key(path: Path, key: Key) -> None:
    """Write a key's line at the end of a file, which is made where there is none.

    Whoever adds a key at the same time waits, so that no name gets into the file twice.

    Raises:
        OSError: it cannot be written.
        ValueError: as `read_keys`, or there is a key of that name.
    """
    # A new one is its owner's alone: it holds no secret, and is nobody's business either.
    with _locked(path) as file:
        present = os.pread(file, MAX_FILE_BYTES + 1, 0)
        if present and key.name in read_keys(path):
            raise ValueError(f"has a key {key.name!r} already: take another name, or remove it")
        start = "" if not present or present.endswith(b"\n") else "\n"
        line = f"{start}{key}\n".encode()
        # One write, which a server that reads meanwhile sees whole or not at all.
        if os.write(file, line) != len(line):
            os.ftruncate(file, len(present))
            raise OSError(errno.ENOSPC, "there is no room for another key")


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Open a key file to append, alone among those who add keys; it is made where there is none."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        if sys.platform != "win32":
            import fcntl  # noqa: PLC0415  (Windows has none)

            fcntl.flock(file, fcntl.LOCK_EX)
            while not os.path.samestat(os.fstat(file), path.stat()):
                # Somebody has put another file in its place while this waited.
                os.close(file)
                file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
                fcntl.flock(file, fcntl.LOCK_EX)
        yield file
    finally:
        os.close(file)
