"""Mapped files of which few pages are read: an access brings in its own page alone.

Linux maps up to 16 pages around each page that is accessed, if they are in the page cache. Of a
table of word embeddings, whose rows are read in no order, nearly all pages are mapped then: 38 of
45 MiB after 1,500 texts, of which 12 MiB were read. Linux maps single pages where a userfaultfd is
registered for write protection, asynchronously and of any kind of memory (since Linux 6.7). Nothing
is ever protected here, so nothing else changes. Where the kernel has none of this, the mapping
stays as it is, and so it does in a process with a seccomp filter: the default filters of containers
refuse the system call, and those of systemd end the process.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import os
import platform
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

if sys.platform != "win32":
    import fcntl

log = logging.getLogger(__name__)

_SYSCALLS = {"x86_64": 323, "aarch64": 282}
"""Number of the system call userfaultfd, by the machine."""
_FILTERED = "\nSeccomp:\t2\n"
"""What /proc/self/status has of a process with a filter of system calls."""
_USER_MODE_ONLY = 1
_API, _WP_ASYNC, _MODE_WP = 0xAA, 1 << 15, 1 << 1
_API_REQUEST, _REGISTER_REQUEST = 0xC018AA3F, 0xC020AA00
"""Constants and requests (UFFDIO_API, UFFDIO_REGISTER) of linux/userfaultfd.h."""


def map_single_pages(address: int, size: int) -> bool:
    """Let an access to a private mapping bring in its own page alone.

    Args:
        address: begin of the mapping, a multiple of the size of a page.
        size: its bytes.

    Returns:
        Whether the kernel does so.
    """
    descriptor = _userfaultfd(os.getpid())
    if descriptor < 0:
        return False
    whole = -(-size // os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PAGE_SIZE")
    try:
        fcntl.ioctl(descriptor, _REGISTER_REQUEST, struct.pack("4Q", address, whole, _MODE_WP, 0))
    except OSError as error:
        log.debug("accesses map the pages around them too: %s", error.strerror)
        return False
    return True


def mappings(directory: Path) -> Iterator[tuple[int, int, int]]:
    """Yield address, size and offset in its file of each mapping of a directory's files."""
    if sys.platform != "linux":
        return
    for line in Path("/proc/self/maps").read_text(errors="replace").splitlines():
        place, _, offset, _, _, *path = line.split(maxsplit=5)
        if path and Path(path[0]).parent == directory:
            start, stop = (int(end, 16) for end in place.split("-"))
            yield start, stop - start, int(offset, 16)


@functools.cache
def _userfaultfd(_process: int) -> int:
    """Return the descriptor for all mappings of this process; -1 if there is none.

    A process that was forked needs another one.
    """
    number = _SYSCALLS.get(platform.machine()) if sys.platform == "linux" else None
    if number is None or _FILTERED in Path("/proc/self/status").read_text():
        return -1
    flags = os.O_CLOEXEC | os.O_NONBLOCK | _USER_MODE_ONLY
    descriptor = ctypes.CDLL(None, use_errno=True).syscall(number, flags)
    if descriptor < 0:
        log.debug("there is no userfaultfd: %s", os.strerror(ctypes.get_errno()))
        return -1
    try:
        fcntl.ioctl(descriptor, _API_REQUEST, struct.pack("3Q", _API, _WP_ASYNC, 0))
    except OSError as error:  # Linux before 6.7
        log.debug("there is no asynchronous write protection: %s", error.strerror)
        os.close(descriptor)
        return -1
    return int(descriptor)
