"""Landlock: what a Linux kernel lets a process write, start and connect to, set by itself.

The numbers are those of linux/landlock.h; each kernel knows those up to its own ABI version.
"""

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # system calls, alike on every processor
VERSION_FLAG = 1
BENEATH_PATH = 1
EXECUTE, WRITE_FILE = 1 << 0, 1 << 1
CHANGES = sum(1 << bit for bit in range(4, 13))  # remove and make files, directories, links, …
REFER, TRUNCATE = 1 << 13, 1 << 14
SINCE = ((1, EXECUTE | WRITE_FILE | CHANGES), (2, REFER), (3, TRUNCATE))
TCP = 3  # bind and connect
TCP_SINCE = 4
OUTSIDE_SOCKETS_AND_SIGNALS = 3  # abstract Unix sockets and signals to processes outside
SCOPES_SINCE = 6
DEVICES = ("/dev/null", "/dev/zero", "/dev/tty")


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64)
    )  # fmt: skip


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("directory", ctypes.c_int32))


def restrict_writes(directories: Sequence[Path]) -> bool:
    """Let this thread, and those it starts, write below the directories alone, and start nothing.

    TCP is closed as well, and so are signals to other processes, where the kernel knows of them.
    It needs no privileges, but that new ones are given up first (`PR_SET_NO_NEW_PRIVS`).

    Returns:
        Whether the kernel has Landlock; without it nothing is restricted.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), VERSION_FLAG)
    if version < 1:
        return False
    handled = sum(rights for since, rights in SINCE if version >= since)
    rules = _Ruleset(
        files=handled,
        network=TCP if version >= TCP_SINCE else 0,
        scopes=OUTSIDE_SOCKETS_AND_SIGNALS if version >= SCOPES_SINCE else 0,
    )
    size = 8 * (1 + (version >= TCP_SINCE) + (version >= SCOPES_SINCE))
    ruleset = libc.syscall(CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(size), 0)
    if ruleset < 0:
        return False
    devices = [*map(Path, DEVICES), *Path("/dev").glob("nvidia*")]
    for path in directories:
        _allow(libc, ruleset, path, handled & ~EXECUTE)
    for path in devices:
        _allow(libc, ruleset, path, (WRITE_FILE | TRUNCATE) & handled)
    restricted = bool(libc.syscall(RESTRICT_SELF, ruleset, 0) == 0)
    os.close(ruleset)
    return restricted


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path, rights: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what is not there cannot be written
    rule = _Beneath(allowed=rights, directory=opened)
    libc.syscall(ADD_RULE, ruleset, BENEATH_PATH, ctypes.byref(rule), 0)
    os.close(opened)
