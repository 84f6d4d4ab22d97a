"""Opens the partial file of an output for one process at a time."""

import io
import os
from pathlib import Path
from typing import IO

from semserve.bulk.errors import FileError


def open_locked(path: Path, output: Path) -> IO[bytes]:
    """Open a file for writing, without changing it, and lock it until it is closed.

    Systems without flock do not lock.

    Raises:
        FileError: another process has it.
        OSError: it cannot be opened.
    """
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
    try:
        import fcntl  # noqa: PLC0415 - not on every system
    except ImportError:
        return file
    busy = FileError(f"another process writes {output}: wait for its end")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(file.fileno()), path.stat()):
            raise busy  # it got its final name before it was locked
    except (BlockingIOError, FileNotFoundError):
        file.close()
        raise busy from None
    except FileError:
        file.close()
        raise
    return file


def cut(file: IO[bytes], size: int, path: Path) -> None:
    """Cut a file to its complete rows, and go to its end.

    Raises:
        FileError: it is shorter than the journal says.
    """
    if file.seek(0, io.SEEK_END) < size:
        raise FileError(f"{path} is shorter than its journal says: pass --overwrite")
    file.truncate(size)
    file.seek(size)
