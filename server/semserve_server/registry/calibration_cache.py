"""Measurements kept on disk, so that every start of a server chooses the same batches.

A file is used only where nobody else could have written it and all of it is as it should be. It
holds what was measured and not what was chosen, so a server whose rules changed chooses anew.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
from pathlib import Path

import msgspec

from semserve_server.registry.cache_directory import AUTO, NONE, private_directory, untrusted
from semserve_server.registry.measurements import Measurements

log = logging.getLogger(__name__)

MOST_BYTES = 65_536
"""Most bytes of a file."""
MOST_FILES = 256
"""Most files that are kept; the oldest are removed."""
_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


class Key(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the measurements depend on; those of another key are not used."""

    digest: str
    """Of the bundle."""
    variant: str
    provider: str
    cpu: str
    """What the CPU is called."""
    threads: int
    """Of a run beside others."""
    exclusive_threads: int
    """Of a lone run."""
    onnxruntime: str
    server: str
    """Version."""

    @property
    def file(self) -> str:
        """The name of the file."""
        return f"{hashlib.sha256(msgspec.json.encode(self)).hexdigest()}.json"


class _Kept(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file's content."""

    key: Key
    measured: Measurements


class CalibrationCache:
    """A directory that the server's own user alone can write."""

    def __init__(self, directory: Path) -> None:
        """Open the directory, and make it where it is missing.

        Raises:
            ConfigError: it cannot be made, or others can write it.
        """
        self.directory = private_directory(directory)

    def read(self, key: Key) -> Measurements | None:
        """Return what was measured under a key; None where nothing sound is kept."""
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

    def keep(self, key: Key, measured: Measurements) -> Measurements:
        """Keep what was measured, and return what to use.

        What another process or an earlier start has kept is used in its place where that is
        settled, and is merged with it where it is not. A file is there whole or not at all. A disk
        that is full or cannot be written is told in the log.
        """
        path = self.directory / key.file
        try:
            try:
                self._write(path, key, measured, replace=False)
            except FileExistsError:
                others = self.read(key)
                if others is not None and others.settled:
                    return others
                measured = measured.merged(others) if others else measured
                self._write(path, key, measured, replace=True)
            self._remove_oldest()
        except OSError as error:
            log.warning("%s cannot be written: %s", path, error.strerror)
        return measured

    def _write(self, path: Path, key: Key, measured: Measurements, *, replace: bool) -> None:
        """Write a file under another name, and give it its own in one step.

        Raises:
            FileExistsError: it is there, and must not be replaced.
            OSError: the disk cannot take it.
        """
        fresh = self.directory / f".{secrets.token_hex(8)}.part"
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123  (a descriptor, no path)
                file.write(msgspec.json.encode(_Kept(key=key, measured=measured)))
                file.flush()
                os.fsync(descriptor)
            if replace:
                fresh.replace(path)
            else:
                _link(fresh, path)
        finally:
            fresh.unlink(missing_ok=True)

    def _remove_oldest(self) -> None:
        """Remove what is over the bound, and what a process that died has left unfinished."""
        ours = [one for one in self.directory.iterdir() if one.suffix in {".json", ".part"}]
        kept = sorted(ours, key=lambda path: path.stat().st_mtime)
        for path in kept[:-MOST_FILES]:
            path.unlink(missing_ok=True)


def _content(path: Path) -> bytes:
    """Return a file that nobody else can have written.

    Raises:
        OSError: it cannot be read.
        ValueError: others can have written it, or it is too large.
    """
    descriptor = os.open(path, _FLAGS)
    try:
        if problem := untrusted(os.fstat(descriptor)):
            raise ValueError(problem)
        content = os.read(descriptor, MOST_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > MOST_BYTES:
        raise ValueError(f"it has over {MOST_BYTES} bytes")
    return content


def _link(fresh: Path, path: Path) -> None:
    """Give a file its name where there is none of that name; on file systems without links too.

    Raises:
        FileExistsError: there is one.
    """
    try:
        os.link(fresh, path)
    except FileExistsError:
        raise
    except OSError:
        fresh.replace(path)


def opened(setting: str) -> CalibrationCache | None:
    """Open the directory that `--calibration-cache` names; None where it says that there is none.

    Raises:
        ConfigError: as `CalibrationCache`.
    """
    return None if setting in {NONE, AUTO} else CalibrationCache(Path(setting))


def _measured(content: bytes, key: Key) -> Measurements:
    """Return what a file holds.

    Raises:
        ValueError: it is of another key, or no measuring gives such numbers.
        msgspec.DecodeError: it is not what this server writes.
    """
    kept = msgspec.json.decode(content, type=_Kept)
    sizes = [tokens for tokens, _ in kept.measured.runs]
    tokens, padded, _ = kept.measured.ragged
    if kept.key != key or sizes != sorted(set(sizes)) or tokens > padded:
        raise ValueError("its content is another's")
    return kept.measured
