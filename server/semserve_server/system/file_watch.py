"""Whether files have changed since somebody last looked, as cheaply as the system tells it."""

from __future__ import annotations

from pathlib import Path

_Signature = tuple[tuple[int, int, int, int] | None, ...]


class Changes:
    """Some files that somebody else writes: in place, or by renaming another over them.

    Links are followed, so that a directory that is swapped by its link, as Kubernetes swaps the
    files of a secret, is seen too.
    """

    def __init__(self, *paths: Path) -> None:
        self._paths = paths
        self._signature: _Signature = ()

    def seen(self) -> bool:
        """Tell whether any file is another one, or another in time or size, than the last time."""
        signature = tuple(map(_signature, self._paths))
        changed = signature != self._signature
        self._signature = signature
        return changed

    def forget(self) -> None:
        """Let the next look see a change: what was seen could not be used, and may yet be mended.

        A file that is written in place has one size and time for a moment, whole or not.
        """
        self._signature = ()


def _signature(path: Path) -> tuple[int, int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size
