"""Landlock: a process restricts what it can write, start and connect to, enforced by the kernel.

The constants are those of linux/landlock.h; a kernel supports those up to its ABI version.
"""

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # system calls, equal on every processor
VERSION_FLAG = 1
BENEATH_PATH = 1
EXECUTE, WRITE_FILE = 1 << 0, 1 << 1
CHANGES = sum(1 << bit for bit in range(4, 13))  # remove and create files, directories, links, …
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
    """Let this thread and its children write only below the directories, and start no program.

    If the kernel supports it, TCP and signals to other processes are refused too. The call needs no
    privileges, but `PR_SET_NO_NEW_PRIVS` must be set first.

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
        return  # a missing directory cannot be written
    rule = _Beneath(allowed=rights, directory=opened)
    libc.syscall(ADD_RULE, ruleset, BENEATH_PATH, ctypes.byref(rule), 0)
    os.close(opened)
