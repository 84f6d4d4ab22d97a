"""A key file on disk: read whole, or longer by a line."""

from __future__ import annotations

import os
from pathlib import Path

from semserve_server import keys
from semserve_server.keys import Key

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

    Raises:
        OSError: it cannot be written.
        ValueError: as `read_keys`, or there is a key of that name.
    """
    present = b""
    if path.exists() and path.stat().st_size:
        if key.name in read_keys(path):
            raise ValueError(f"has a key {key.name!r} already: take another name, or remove it")
        present = path.read_bytes()
    start = "" if not present or present.endswith(b"\n") else "\n"
    # A new one is its owner's alone: it holds no secret, and is nobody's business either.
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with open(file, "ab", buffering=0) as stream:  # noqa: PTH123  (a descriptor, no path)
        stream.write(f"{start}{key}\n".encode())
