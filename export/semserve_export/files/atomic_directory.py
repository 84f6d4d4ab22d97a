"""Replaces a directory in one step: a reader always finds the old or the new directory.

The new one is written to a scratch directory in the same parent, flushed to the disk, and exchanged
with the old one by one system call. A killed process leaves its scratch directory behind; the next
process removes it.
"""

import ctypes
import errno
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

if LOCKS := os.name == "posix":
    import fcntl

SCRATCH = ".export-"
"""Part of every scratch directory's name."""
LOCK = "export.lock"
"""A file of every scratch directory; its writer keeps a lock on it until it ends."""
REPLACED = "replaced"
"""Name of the old directory in the scratch directory while it is replaced in two steps."""
AT_FDCWD = -100  # <fcntl.h>
RENAME_EXCHANGE = 2  # <linux/fs.h>: renameat2(2), since Linux 3.15
OLD = 24 * 3600  # seconds, after which a scratch directory is abandoned, on systems without locks
RENAME_SWAP = 2  # <sys/stdio.h> of macOS: renamex_np(2), since 10.12


@contextmanager
def scratch_directory(directory: Path) -> Iterator[Path]:
    """Create an empty directory in the parent of `directory`, and remove it at the end.

    Its name starts with a dot, so a server that lists bundles does not see it. Directories that
    killed processes left in the same parent are removed first.

    Raises:
        OSError: the parent cannot be written.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    sweep(directory.parent)
    made = None
    while made is None:
        made = _make_scratch(directory)
    scratch, lock = made
    try:
        with lock:
            yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def put_in_place(written: Path, directory: Path, scratch: Path) -> None:
    """Flush a directory to the disk, and move it to its final path.

    On Linux and macOS, an older directory is exchanged for it in one step. Elsewhere the older one
    is moved into the scratch directory first; if the process is killed between the two steps, the
    next `sweep` moves it back.

    Args:
        written: the new directory.
        directory: its final path.
        scratch: the directory of `scratch_directory`, on the same file system.

    Raises:
        OSError: it cannot be moved; the older one is unchanged.
    """
    _sync(written)
    if not os.path.lexists(directory):
        try:
            written.rename(directory)
        except OSError as error:  # another process has just created the directory
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
    if written.exists() and not exchange(written, directory):
        _replace_in_two_steps(written, directory, scratch / REPLACED)
    _sync_file(directory.parent)


def exchange(left: Path, right: Path) -> bool:
    """Exchange two paths in one step; False if the system or the file system cannot do it.

    Raises:
        OSError: they cannot be exchanged for any other reason.
    """
    library: Any = ctypes.CDLL(None, use_errno=True) if os.name == "posix" else None
    paths = os.fsencode(left), os.fsencode(right)
    if hasattr(library, "renameat2"):
        failed = library.renameat2(AT_FDCWD, paths[0], AT_FDCWD, paths[1], RENAME_EXCHANGE)
    elif sys.platform == "darwin" and hasattr(library, "renamex_np"):
        failed = library.renamex_np(*paths, RENAME_SWAP)
    else:
        return False
    if not failed:
        return True
    number = ctypes.get_errno()
    if number in {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM}:
        return False
    raise OSError(number, os.strerror(number), str(right))


def sweep(parent: Path) -> None:
    """Remove scratch directories of dead writers, after moving old directories back."""
    for scratch in parent.glob(f".*{SCRATCH}*"):
        with suppress(OSError):
            scratch.rmdir()  # its writer was killed before it had a lock
            continue
        with suppress(OSError), (scratch / LOCK).open("rb") as lock:
            if LOCKS:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while its writer runs
            elif time.time() - scratch.stat().st_mtime < OLD:
                continue
            for replaced in scratch.glob(f"{REPLACED}/*"):
                if not os.path.lexists(parent / replaced.name):
                    replaced.rename(parent / replaced.name)
            shutil.rmtree(scratch, ignore_errors=True)


def _make_scratch(directory: Path) -> tuple[Path, BinaryIO] | None:
    """Create and lock a scratch directory; None if another process removed it before the lock."""
    scratch = Path(tempfile.mkdtemp(prefix=f".{directory.name}{SCRATCH}", dir=directory.parent))
    try:
        lock = (scratch / LOCK).open("xb")
    except FileNotFoundError:
        return None
    if LOCKS:
        fcntl.flock(lock, fcntl.LOCK_EX)
    if _is_at(lock, scratch / LOCK):
        return scratch, lock
    lock.close()
    return None


def _is_at(file: BinaryIO, path: Path) -> bool:
    """Return whether an open file is the file at the path."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _replace_in_two_steps(written: Path, directory: Path, replaced: Path) -> None:
    replaced.mkdir()
    directory.rename(replaced / directory.name)
    try:
        written.rename(directory)
    except OSError:
        (replaced / directory.name).rename(directory)
        raise


def _sync(directory: Path) -> None:
    """Flush every file of a directory, and the directory itself, to the disk."""
    for path in (*directory.iterdir(), directory):
        _sync_file(path)


def _sync_file(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:  # Windows opens no directory
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:  # a file system that has no fsync
            raise
    finally:
        os.close(descriptor)
