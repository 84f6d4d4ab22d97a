"""Optimised graphs with packed weights, kept in files that every session and process maps.

An entry is a directory with the graph, a file for each large weight, and an index with the digests
of these files. Graphs that have equal weights share their files. Only the server's user can write
the directory, and a file whose digest differs is not used, so a session opens only files that a
server of this user made from a verified bundle.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from semserve_server.graph_cache.external_weights import divide
from semserve_server.graph_cache.weight_files import File, WeightFiles, describe, verify
from semserve_server.runtime.graph import GRAPH_FILE, WEIGHTS_FILE, GraphKey
from semserve_server.runtime.worker_threads import Worker, WorkerThread
from semserve_server.system.private_files import open_private, private_directory, untrusted

log = logging.getLogger(__name__)

INDEX_FILE = "index.json"
DIRECTORY, WEIGHTS_DIRECTORY = "graphs", "weights"
"""The subdirectories of the cache directory that contain the entries, and all files of weights."""
MAX_INDEX_BYTES = 262_144
MAX_ENTRIES = 1024
"""Limit of the number of entries. Beyond it, or beyond the limit of bytes, the least recently used
ones are removed."""
ABANDONED_SECONDS = 3600.0
"""Seconds after which an unfinished entry is assumed to be of a dead process."""


class _Index(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    key: GraphKey
    graph: File
    weights: tuple[File, ...]

    @property
    def files(self) -> Iterator[tuple[str, File]]:
        """The names of the entry's files."""
        yield GRAPH_FILE, self.graph
        for file in self.weights:
            yield file.name, file


class GraphCache:
    """A directory of entries. Several threads and processes may use it at the same time."""

    def __init__(self, directory: Path, *, max_bytes: int) -> None:
        """Open the cache. Its directory is created if missing and possible.

        Args:
            directory: the value of `--cache-dir`.
            max_bytes: most bytes of all entries. A file that several entries have counts once.

        Raises:
            ConfigError: the directory cannot be created, or other users can write it.
        """
        self.directory = private_directory(directory, "--cache-dir") / DIRECTORY
        self._weights = WeightFiles(directory / WEIGHTS_DIRECTORY)
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
            write: writes `GRAPH_FILE`, and `WEIGHTS_FILE` if it has large weights, into a
                directory.

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
        self._weights.remove_unused()
        return self.find(key)

    def remove(self, key: GraphKey) -> None:
        """Remove an entry. A session that has opened it keeps its files until it is closed."""
        self._remove(self.directory / key.name)
        self._weights.remove_unused()

    def _finish(self, fresh: Path, key: GraphKey) -> None:
        """Divide the weights, write the index, which makes the files an entry, and name it."""
        graph, weights = self._divided(fresh)
        index = _Index(key=key, graph=graph, weights=weights)
        total = sum(file.bytes for _, file in index.files)
        if total > self._max_bytes:
            raise ValueError(f"{total} bytes are more than --max-cache-bytes {self._max_bytes}")
        _write_private(fresh / INDEX_FILE, msgspec.json.encode(index))
        try:
            fresh.rename(self.directory / key.name)
        except OSError:
            if not (self.directory / key.name).is_dir():  # else another process was first
                raise

    def _divided(self, fresh: Path) -> tuple[File, tuple[File, ...]]:
        """Give each external weight a file of its own. Return the files of an entry.

        Raises:
            ValueError: the graph has weights where they are not looked for.
        """
        path, whole = fresh / GRAPH_FILE, fresh / WEIGHTS_FILE
        files: dict[str, File] = {}

        def keep(parts: Sequence[memoryview]) -> str:
            file = self._weights.add(fresh, parts)
            files[file.name] = file
            return file.name

        graph = path.read_bytes()
        if whole.exists():
            graph = divide(graph, _mapped(whole), keep)
            whole.unlink()
        if WEIGHTS_FILE.encode() in graph:
            raise ValueError("it has external weights that are not initializers of the main graph")
        path.unlink()
        _write_private(path, graph)
        return describe(path), tuple(files.values())

    def _remove_unused(self, key: GraphKey) -> None:
        """Remove what dead processes and other versions have left, and what exceeds the limits."""
        entries = []
        for path in self.directory.iterdir():
            if path.name.startswith("."):
                if path.stat().st_mtime < time.time() - ABANDONED_SECONDS:
                    shutil.rmtree(path, ignore_errors=True)
            elif path.name != key.name:
                last_use = _last_use(path)
                if last_use is None:
                    self._remove(path)
                else:
                    entries.append((last_use, path))
        counted: set[tuple[int, int]] = set()
        left, room = MAX_ENTRIES - 1, self._max_bytes - _bytes(self.directory / key.name, counted)
        for _, path in sorted(entries, reverse=True):
            left, room = left - 1, room - _bytes(path, counted)
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
    if index.key != key:
        raise ValueError("its index belongs to another key")
    left = iter(sorted(index.files, key=lambda named: named[1].bytes, reverse=True))

    def verify_some() -> None:
        for name, file in left:
            verify(entry / name, file)

    # Two threads: MiniLM's files take 40 ms in place of 68 ms.
    helper = WorkerThread("digests", Worker("", "load"))
    try:
        others = helper.submit(verify_some)
        verify_some()
        others.result()
    finally:
        helper.shutdown()


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


def _last_use(entry: Path) -> float | None:
    """Return when an entry was last used, in seconds since 1970; None if it has no index of ours.

    Entries of versions that kept the weights of a graph in one file have another schema.
    """
    try:
        _index(entry)
        return (entry / INDEX_FILE).stat().st_mtime
    except (OSError, ValueError, msgspec.DecodeError):
        return None


def _bytes(entry: Path, counted: set[tuple[int, int]]) -> int:
    """Return the bytes of an entry, without files that were counted before.

    Args:
        entry: its directory; 0 bytes once another process has removed it.
        counted: device and number of the counted files, to which these are added.
    """
    total = 0
    with contextlib.suppress(OSError):
        for path in entry.iterdir():
            status = path.lstat()
            if (place := (status.st_dev, status.st_ino)) not in counted:
                counted.add(place)
                total += status.st_size
    return total


def _mapped(path: Path) -> memoryview:
    """Map a file that is not empty. It is unmapped with the last part of the view."""
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _write_private(path: Path, content: bytes) -> None:
    """Write a new file that its owner alone can read."""
    path.touch(mode=0o600, exist_ok=False)
    path.write_bytes(content)
