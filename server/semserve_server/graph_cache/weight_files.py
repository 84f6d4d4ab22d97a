"""Files that are named by their content, so that equal weights of several graphs are one file.

Each entry of the cache has a hard link to each of its files, and so has a directory of all files.
The kernel counts the links: a file that no entry has is known by its single link, whatever other
processes do. A process that has a link of its own never loses its file.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from semserve_server.system.private_files import open_private, private_directory, write_pieces

log = logging.getLogger(__name__)

Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Digest (SHA-256) and size of a file."""

    sha256: Digest
    bytes: int

    @property
    def name(self) -> str:
        """Name of a file of weights."""
        return f"{self.sha256}.bin"


class WeightFiles:
    """The directory of all files. Several threads and processes may use it at the same time."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def add(self, entry: Path, parts: Sequence[memoryview]) -> File:
        """Give an entry a file of these bytes: a link to the file that has them, or a new file.

        Where the file system has no hard links, each entry has files of its own.

        Args:
            entry: directory of an entry that is being made.
            parts: bytes of the file, one after another.

        Raises:
            OSError: the file cannot be written.
            ConfigError: other users can write the directory.
        """
        private_directory(self._directory, "--cache-dir")
        digest = hashlib.sha256()
        for part in parts:
            digest.update(part)
        file = File(digest.hexdigest(), sum(map(len, parts)))
        own, shared = entry / file.name, self._directory / file.name
        if own.exists() or _link(shared, own, file):  # two weights of a graph may be equal
            return file
        own.touch(mode=0o600)
        write_pieces(own, *parts)
        try:
            os.link(own, shared)
        except FileExistsError:  # another process was first
            _link(shared, own, file)
        except OSError as error:
            log.info("%s is not shared by several graphs: %s", own, error.strerror)
        return file

    def remove_unused(self) -> None:
        """Remove the files that no entry has."""
        with contextlib.suppress(OSError):  # another process removes them too
            for path in self._directory.iterdir():
                if path.stat(follow_symlinks=False).st_nlink == 1:
                    path.unlink(missing_ok=True)


def describe(path: Path) -> File:
    """Return digest and size of a file that no other user can have written.

    Raises:
        OSError, ValueError: it cannot be read, or another user can have written it.
    """
    with open(open_private(path), "rb") as file:  # noqa: PTH123  (a descriptor)
        if hasattr(os, "posix_fadvise"):  # small folios, as `PIECE_BYTES` describes
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return File(digest, file.tell())


def verify(path: Path, file: File) -> None:
    """Compare a file with its digest and size.

    Raises:
        OSError: it cannot be read.
        ValueError: it differs, or another user can have written it.
    """
    if describe(path) != file:
        raise ValueError(f"{path.name} differs from its digest")


def _link(shared: Path, own: Path, file: File) -> bool:
    """Replace an entry's file by a link to the shared one.

    Returns:
        Whether there is a shared file. One that differs from its name, or that cannot be linked,
        is removed.
    """
    link = own.with_suffix(".link")
    try:
        os.link(shared, link)
        verify(link, file)
        link.replace(own)
    except (OSError, ValueError) as error:
        if not isinstance(error, FileNotFoundError):
            log.warning("%s is not used: %s", shared, error)
        link.unlink(missing_ok=True)
        shared.unlink(missing_ok=True)
        return False
    return True
