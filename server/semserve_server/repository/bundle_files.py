"""Reads the files of a bundle: regular files of bounded size with the expected digest."""

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

# Links are not followed, and opening a pipe does not block. Windows has neither flag.
_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def read(path: Path, *, most: int) -> bytes:
    """Return the content of a file whose size and digest are not known yet.

    Raises:
        BundleError: the file is missing, is not a regular file, or has more than `most` bytes.
    """
    with _opened(path) as (stream, _):
        content = stream.read(most + 1)
    if len(content) > most:
        raise BundleError(f"{path}: over {most} bytes")
    return content


def read_verified(path: Path, *, sha256: str, size: int) -> bytes:
    """Return the content of a file, if it has the size and digest of the manifest.

    Raises:
        BundleError: the file is missing, is not a regular file, or differs.
    """
    with _opened(path) as (stream, found):
        _check_size(path, found, size)
        content = stream.read(size)
    _check_digest(path, hashlib.sha256(content).hexdigest(), sha256)
    return content


def verify(path: Path, *, sha256: str, size: int) -> None:
    """Verify that a file has the size and digest of the manifest, without keeping its content.

    Raises:
        BundleError: as `read_verified`.
    """
    with _opened(path) as (stream, found):
        _check_size(path, found, size)
        _check_digest(path, hashlib.file_digest(stream, "sha256").hexdigest(), sha256)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BufferedReader, int]]:
    """Open a regular file. Yields the stream and the size."""
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
    return f"{path}: is not a regular file; a bundle contains no links or devices"


def _check_size(path: Path, found: int, size: int) -> None:
    if found != size:
        raise BundleError(f"{path}: has {found} bytes and the manifest says {size}: export again")


def _check_digest(path: Path, found: str, sha256: str) -> None:
    if found != sha256:
        raise BundleError(f"{path}: its SHA-256 differs from the manifest: export again")
