"""Directories and files that no other user can have written."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from semserve_server.errors import ConfigError

_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def private_directory(directory: Path, flag: str) -> Path:
    """Return a directory that only this user can write. It is created if missing.

    Args:
        directory: the directory.
        flag: the flag that names it, for messages.

    Raises:
        ConfigError: the directory cannot be created, or other users can write it.
    """
    prefix = f"{flag} {directory}:"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = directory.stat(follow_symlinks=False)
    except OSError as error:
        raise ConfigError(
            f"{prefix} {error.strerror}: name a directory that can be created, or none"
        ) from error
    if not stat.S_ISDIR(status.st_mode):
        raise ConfigError(f"{prefix} it is not a directory: name one, or none")
    if problem := untrusted(status):
        raise ConfigError(f"{prefix} {problem}: name a directory of your own, or chmod go-w it")
    return directory


def untrusted(status: os.stat_result) -> str:
    """Return why another user may have written a file or directory; empty if none can have."""
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        return "it is not a regular file"
    # Windows has neither owners by number nor these bits.
    if hasattr(os, "geteuid") and status.st_uid not in {0, os.geteuid()}:
        return "another user owns it"
    if hasattr(os, "geteuid") and status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "other users can write it"
    return ""


def open_private(path: Path) -> int:
    """Open a regular file that no other user can have written. Return its descriptor, to read.

    Raises:
        OSError: the file cannot be opened.
        ValueError: another user can have written it.
    """
    descriptor = os.open(path, _FLAGS)
    status = os.fstat(descriptor)
    problem = untrusted(status) or ("" if stat.S_ISREG(status.st_mode) else "it is a directory")
    if problem:
        os.close(descriptor)
        raise ValueError(problem)
    return descriptor


PIECE_BYTES = 65_536
"""Size of a write to a file that is mapped. Linux keeps the bytes of one write in one large folio,
and the first access to a folio maps all of it (Linux 6.18): with one write for all of 64 MiB, an
access to 30 random pages maps 35 MiB, and with pieces of this size 1 MiB. Mapping around an access
has this size too, so smaller pieces save nothing."""


def write_pieces(path: Path, *parts: memoryview) -> None:
    """Write a file of which only some pages will be read, through a mapping.

    Raises:
        OSError: the disk cannot take it.
    """
    with path.open("wb", buffering=0) as file:
        for part in parts:
            left = part
            while left:
                left = left[file.write(left[:PIECE_BYTES]) :]
