"""The files of a bundle as they lie on the disk: regular, bounded, and the ones that were meant."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from semserve_server.errors import BundleError

# What a link leads to is not opened, and a pipe is not waited for. Windows has neither flag.
_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def read(path: Path, *, most: int) -> bytes:
    """Return a file of which nothing is known yet.

    Raises:
        BundleError: it is missing, no regular file, or over `most` bytes.
    """
    with _opened(path) as (stream, _):
        content = stream.read(most + 1)
    if len(content) > most:
        raise BundleError(f"{path}: over {most} bytes")
    return content


def read_verified(path: Path, *, sha256: str, size: int) -> bytes:
    """Return a file, proved to be the one that the manifest names.

    Raises:
        BundleError: it is missing, no regular file, or another.
    """
    with _opened(path) as (stream, found):
        _check_size(path, found, size)
        content = stream.read(size)
    _check_digest(path, hashlib.sha256(content).hexdigest(), sha256)
    return content


def prove(path: Path, *, sha256: str, size: int) -> None:
    """Prove a file to be the one that the manifest names, without keeping it in memory.

    Raises:
        BundleError: as `read_verified`.
    """
    with _opened(path) as (stream, found):
        _check_size(path, found, size)
        _check_digest(path, hashlib.file_digest(stream, "sha256").hexdigest(), sha256)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BufferedReader, int]]:
    """Open a regular file; gives it and its size."""
    try:
        descriptor = os.open(path, _FLAGS)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise BundleError(_irregular(path)) from error
        raise BundleError(f"{path}: {error.strerror}: export the bundle again") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise BundleError(_irregular(path))
    with open(descriptor, "rb") as stream:  # noqa: PTH123  (a descriptor, no path)
        yield stream, status.st_size


def _irregular(path: Path) -> str:
    return f"{path}: is no regular file; a bundle holds no links or devices"


def _check_size(path: Path, found: int, size: int) -> None:
    if found != size:
        raise BundleError(f"{path}: has {found} bytes, the manifest says {size}: export again")


def _check_digest(path: Path, found: str, sha256: str) -> None:
    if found != sha256:
        raise BundleError(f"{path}: its SHA-256 is not the manifest's: export again")
