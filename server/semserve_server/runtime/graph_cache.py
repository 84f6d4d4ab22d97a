"""Optimised graphs with packed weights, kept in files that every session and process maps.

An entry is a directory with the graph, its weights, and an index with their digests. Only the
server's user can write the directory, and a file whose digest differs is not used, so a session
opens only files that a server of this user made from a verified bundle.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import mmap
import os
import secrets
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from semserve_server.system.private_files import (
    open_private,
    private_directory,
    untrusted,
    write_pieces,
)

log = logging.getLogger(__name__)

GRAPH_FILE, WEIGHTS_FILE = "model.onnx", "weights.bin"
INDEX_FILE = "index.json"
DIRECTORY = "graphs"
"""The subdirectory of the cache directory that contains the entries."""
MAX_INDEX_BYTES = 65_536
MAX_ENTRIES = 1024
"""Limit of the number of entries. Beyond it, or beyond the limit of bytes, the least recently used
ones are removed."""
ABANDONED_SECONDS = 3600.0
"""Seconds after which an unfinished entry is assumed to be of a dead process."""


class GraphKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that an optimised graph and the layout of its weights depend on."""

    graph: str
    """SHA-256 of the bundle's graph."""
    onnxruntime: str
    """Version and build of ONNX Runtime."""
    cpu: str
    """Maker, model and instruction sets of the CPUs."""
    options: str
    """Options of the session that change the optimised graph."""

    @property
    def name(self) -> str:
        """Name of the entry."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:32]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sha256: str
    bytes: int


class _Index(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    key: GraphKey
    files: dict[Literal["model.onnx", "weights.bin"], _File]


class GraphCache:
    """A directory of entries. Several threads and processes may use it at the same time."""

    def __init__(self, directory: Path, *, max_bytes: int) -> None:
        """Open the cache. Its directory is created if missing and possible.

        Args:
            directory: the value of `--cache-dir`.
            max_bytes: most bytes of all entries.

        Raises:
            ConfigError: the directory cannot be created, or other users can write it.
        """
        self.directory = private_directory(directory, "--cache-dir") / DIRECTORY
        self._max_bytes = max_bytes

    def find(self, key: GraphKey) -> Path | None:
        """Return the file of an optimised graph.

        Returns:
            None if there is none. An entry that is damaged, or that another user can have written,
            is removed.
        """
        entry = self.directory / key.name
        if not entry.is_dir():
            return None
        try:
            _verify(entry, key)
        except (OSError, ValueError, msgspec.DecodeError) as error:
            log.warning("%s is not used: %s", entry, error)
            self.remove(key)
            return None
        with contextlib.suppress(OSError):  # a directory that is read-only
            os.utime(entry / INDEX_FILE)
        return entry / GRAPH_FILE

    def store(self, key: GraphKey, write: Callable[[Path], None]) -> Path | None:
        """Make an entry, and return the file of its graph.

        If another process makes the same entry at the same time, the first one stays.

        Args:
            key: what the entry depends on.
            write: writes `GRAPH_FILE`, and `WEIGHTS_FILE` if it has weights, into a directory.

        Returns:
            None if the entry cannot be made; the reason is logged.
        """
        fresh = self.directory / f".{secrets.token_hex(8)}.part"
        try:
            private_directory(self.directory, "--cache-dir")
            fresh.mkdir(mode=0o700)
            try:
                write(fresh)
                self._finish(fresh, key)
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
            self._remove_unused(key)
        except Exception as error:  # noqa: BLE001  (ONNX Runtime's have no common base class)
            # The bundle's own graph, which is loaded then, shows whether it is at fault.
            log.info("no optimised graph is kept in %s: %s", self.directory, error)
        return self.find(key)

    def remove(self, key: GraphKey) -> None:
        """Remove an entry. A session that has opened it keeps its files until it is closed."""
        self._remove(self.directory / key.name)

    def _finish(self, fresh: Path, key: GraphKey) -> None:
        """Write the index, which makes the files an entry, and give the entry its name."""
        files = {}
        for path in list(fresh.iterdir()):
            files[path.name] = _divided(path)
        total = sum(file.bytes for file in files.values())
        if total > self._max_bytes:
            raise ValueError(f"{total} bytes are more than --max-cache-bytes {self._max_bytes}")
        index = msgspec.convert({"key": key, "files": files}, _Index)
        (fresh / INDEX_FILE).touch(mode=0o600)
        (fresh / INDEX_FILE).write_bytes(msgspec.json.encode(index))
        try:
            fresh.rename(self.directory / key.name)
        except OSError:
            if not (self.directory / key.name).is_dir():  # else another process was first
                raise

    def _remove_unused(self, key: GraphKey) -> None:
        """Remove unfinished entries of dead processes, and the entries beyond the limits."""
        entries = []
        for path in self.directory.iterdir():
            if path.name.startswith("."):
                if path.stat().st_mtime < time.time() - ABANDONED_SECONDS:
                    shutil.rmtree(path, ignore_errors=True)
            elif path.name != key.name:
                entries.append((_last_use(path), path))
        left, room = MAX_ENTRIES - 1, self._max_bytes - _bytes(self.directory / key.name)
        for _, path in sorted(entries, reverse=True):
            left, room = left - 1, room - _bytes(path)
            if left < 0 or room < 0:
                self._remove(path)

    def _remove(self, entry: Path) -> None:
        """Remove an entry, so that no process finds a part of it."""
        unlinked = self.directory / f".{secrets.token_hex(8)}.part"
        try:
            entry.rename(unlinked)
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                log.warning("%s cannot be removed: %s", entry, error.strerror)
            return
        shutil.rmtree(unlinked, ignore_errors=True)


def _verify(entry: Path, key: GraphKey) -> None:
    """Compare the files of an entry with its index.

    Raises:
        OSError, msgspec.DecodeError: the index or a file cannot be read.
        ValueError: a file differs, another user can have written it, or the key is another.
    """
    for directory in (entry.parent, entry):
        if problem := untrusted(directory.lstat()):
            raise ValueError(f"{directory}: {problem}")
    index = _index(entry)
    if index.key != key or GRAPH_FILE not in index.files:
        raise ValueError("its index belongs to another key")
    for name, file in index.files.items():
        if _described(entry / name) != file:
            raise ValueError(f"{name} differs from its digest")


def _index(entry: Path) -> _Index:
    """Read the index of an entry.

    Raises:
        OSError: it cannot be read.
        ValueError: another user can have written it, or it is too large.
        msgspec.DecodeError: it has another schema.
    """
    with open(open_private(entry / INDEX_FILE), "rb") as file:  # noqa: PTH123  (a descriptor)
        content = file.read(MAX_INDEX_BYTES + 1)
    if len(content) > MAX_INDEX_BYTES:
        raise ValueError(f"its index has over {MAX_INDEX_BYTES} bytes")
    return msgspec.json.decode(content, type=_Index)


def _described(path: Path) -> _File:
    """Return digest and size of a file that no other user can have written.

    Raises:
        OSError, ValueError: it cannot be read, or another user can have written it.
    """
    with open(open_private(path), "rb") as file:  # noqa: PTH123  (a descriptor)
        if hasattr(os, "posix_fadvise"):  # small folios, as `PIECE_BYTES` describes
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return _File(digest, file.tell())


def _divided(path: Path) -> _File:
    """Rewrite a file in small pieces, readable by its owner alone. Return digest and size."""
    whole = path.rename(path.with_suffix(".whole"))
    path.touch(mode=0o600)
    with (
        whole.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as content,
    ):
        write_pieces(path, content)
        described = _File(hashlib.sha256(content).hexdigest(), len(content))
    whole.unlink()
    return described


def _last_use(entry: Path) -> float:
    """Return when an entry was last used, in seconds since 1970; 0 if it has no index."""
    try:
        return (entry / INDEX_FILE).stat().st_mtime
    except OSError:
        return 0.0


def _bytes(entry: Path) -> int:
    """Return the bytes of an entry; 0 once another process has removed it."""
    try:
        return sum(path.lstat().st_size for path in entry.iterdir())
    except OSError:
        return 0
