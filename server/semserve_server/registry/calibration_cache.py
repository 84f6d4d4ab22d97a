"""Measurements kept on disk, so that every start of a server chooses the same batches.

A file is used only if no other user can have written it and its content is valid. It contains
measurements and not choices, so a server with other rules chooses again.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
from pathlib import Path

import msgspec

from semserve_server.registry.cache_directory import AUTO, NONE
from semserve_server.registry.measurements import Measurements
from semserve_server.system.private_files import open_private, private_directory

log = logging.getLogger(__name__)

MAX_BYTES = 65_536
"""Most bytes of a file."""
MAX_FILES = 256
"""Most files in the directory; the oldest are removed."""


class CacheKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the measurements depend on. Measurements with another key are not used."""

    digest: str
    """Digest of the bundle."""
    variant: str
    provider: str
    cpu: str
    """Name of the CPU."""
    threads: int
    """Threads of a run beside other runs."""
    exclusive_threads: int
    """Threads of a run that is alone."""
    onnxruntime: str
    server: str
    """Version of the server."""

    @property
    def file(self) -> str:
        """Name of the file."""
        return f"{hashlib.sha256(msgspec.json.encode(self)).hexdigest()}.json"


class _Stored(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of a file."""

    key: CacheKey
    measured: Measurements


class CalibrationCache:
    """A directory that only the server's user can write."""

    def __init__(self, directory: Path) -> None:
        """Open the directory. It is created if missing.

        Raises:
            ConfigError: the directory cannot be created, or other users can write it.
        """
        self.directory = private_directory(directory, "--calibration-cache")

    def read(self, key: CacheKey) -> Measurements | None:
        """Return the measurements of a key; None if the cache has no valid ones."""
        path = self.directory / key.file
        try:
            return _measured(_content(path), key)
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("%s is not used: %s", path, error.strerror)
        except (ValueError, msgspec.DecodeError) as error:
            log.warning("%s is not used: %s", path, error)
        return None

    def store(self, key: CacheKey, measured: Measurements) -> Measurements:
        """Store measurements, and return the ones to use.

        If another process or an earlier start has stored converged measurements, those are used; if
        they had not converged, both are merged. A file is written completely or not at all. A disk
        that is full or not writable is logged.
        """
        path = self.directory / key.file
        try:
            try:
                self._write(path, key, measured, replace=False)
            except FileExistsError:
                others = self.read(key)
                if others is not None and others.converged:
                    return others
                measured = measured.merged(others) if others else measured
                self._write(path, key, measured, replace=True)
            self._remove_oldest()
        except OSError as error:
            log.warning("%s cannot be written: %s", path, error.strerror)
        return measured

    def _write(self, path: Path, key: CacheKey, measured: Measurements, *, replace: bool) -> None:
        """Write to a temporary file, and rename it.

        Raises:
            FileExistsError: the file exists, and must not be replaced.
            OSError: the disk cannot take it.
        """
        fresh = self.directory / f".{secrets.token_hex(8)}.part"
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123  (a descriptor, no path)
                file.write(msgspec.json.encode(_Stored(key=key, measured=measured)))
                file.flush()
                os.fsync(descriptor)
            if replace:
                fresh.replace(path)
            else:
                _link(fresh, path)
        finally:
            fresh.unlink(missing_ok=True)

    def _remove_oldest(self) -> None:
        """Remove files beyond the limit, and temporary files of processes that died."""
        files = [one for one in self.directory.iterdir() if one.suffix in {".json", ".part"}]
        kept = sorted(files, key=lambda path: path.stat().st_mtime)
        for path in kept[:-MAX_FILES]:
            path.unlink(missing_ok=True)


def _content(path: Path) -> bytes:
    """Return the content of a file that no other user can have written.

    Raises:
        OSError: the file cannot be read.
        ValueError: another user can have written it, or it is too large.
    """
    descriptor = open_private(path)
    try:
        content = os.read(descriptor, MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > MAX_BYTES:
        raise ValueError(f"it has over {MAX_BYTES} bytes")
    return content


def _link(fresh: Path, path: Path) -> None:
    """Give a temporary file its name if that is free, also on file systems without hard links.

    Raises:
        FileExistsError: the name is taken.
    """
    try:
        os.link(fresh, path)
    except FileExistsError:
        raise
    except OSError:
        fresh.replace(path)


def open_cache(setting: str) -> CalibrationCache | None:
    """Open the directory of `--calibration-cache`; None if the setting names no directory.

    Raises:
        ConfigError: as `CalibrationCache`.
    """
    return None if setting in {NONE, AUTO} else CalibrationCache(Path(setting))


def _measured(content: bytes, key: CacheKey) -> Measurements:
    """Decode the content of a file.

    Raises:
        ValueError: the key differs, or the numbers are impossible.
        msgspec.DecodeError: the content has another schema.
    """
    kept = msgspec.json.decode(content, type=_Stored)
    sizes = [tokens for tokens, _ in kept.measured.runs]
    tokens, padded, _ = kept.measured.ragged
    if kept.key != key or sizes != sorted(set(sizes)) or tokens > padded:
        raise ValueError("its content belongs to another key or is impossible")
    return kept.measured
