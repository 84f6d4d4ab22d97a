"""Detects changes of files by their metadata."""

from __future__ import annotations

from pathlib import Path

_Signature = tuple[tuple[int, int, int, int] | None, ...]


class FileWatch:
    """Watches files that another process writes, in place or by renaming another file over them.

    Links are followed, so the watch also detects a directory that is swapped by its link, as
    Kubernetes does with the files of a secret.
    """

    def __init__(self, *paths: Path) -> None:
        self._paths = paths
        self._signature: _Signature = ()

    def changed(self) -> bool:
        """Return whether the identity, time or size of any file has changed since the last call."""
        signature = tuple(map(_signature, self._paths))
        changed = signature != self._signature
        self._signature = signature
        return changed

    def reset(self) -> None:
        """Make the next call of `changed` return True: the present content is unusable.

        A file that is written in place can have one size and time for a moment, complete or not.
        """
        self._signature = ()


def _signature(path: Path) -> tuple[int, int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size
