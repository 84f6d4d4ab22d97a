"""The file systems that directories are on."""

from __future__ import annotations

import os
from pathlib import Path

IN_MEMORY = frozenset({"tmpfs", "ramfs", "devtmpfs"})
"""Types of file systems whose files are in memory, and nowhere else."""


def in_memory(directory: Path) -> bool:
    """Return whether the files of a directory are in memory; False where that is unknown.

    A line of /proc/self/mountinfo is `id parent device root point options … - type source …`.
    """
    try:
        device = directory.stat().st_dev
        mounts = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return False
    wanted = f"{os.major(device)}:{os.minor(device)}"
    types = {
        kind.split()[0]
        for mount, _, kind in (line.partition(" - ") for line in mounts)
        if kind and wanted in mount.split()[2:3]
    }
    return bool(types & IN_MEMORY)
