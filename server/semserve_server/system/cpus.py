"""How many CPUs this process may use, and what they are: affinity, and quotas of control groups.

A set of CPUs (`taskset`, or the cpuset controller of a control group) narrows the affinity, which
the kernel tells. A quota (`docker --cpus`, a Kubernetes limit, systemd's `CPUQuota=`) does not: it
has to be read from the file system, for the process's own group and for each group around it.
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path("/")
MOST_BYTES = 1 << 20
"""Most bytes that are read of a file of the kernel."""


def usable_cpus(processes: int = 1, root: Path = ROOT) -> int:
    """Return how many CPUs this process may use: its affinity, and its container's quota.

    Args:
        processes: how many like it divide them.
        root: directory in which `proc` and `sys` lie.
    """
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(root)
    if quota is not None:
        cpus = min(cpus, max(math.ceil(quota), 1))
    return max(cpus // processes, 1)


def cpu_quota(root: Path = ROOT) -> float | None:
    """Return how many CPUs' time the control groups grant; None where none has a quota.

    The least of the process's own group and of all groups around it, of cgroup version 2
    (`cpu.max`) and version 1 (`cpu.cfs_quota_us`), both of which a machine may have.

    Args:
        root: directory in which `proc` and `sys` lie.
    """
    quotas = [quota for group in _groups(root) if (quota := _quota(group)) is not None]
    return min(quotas, default=None)


def cpu_model(root: Path = ROOT) -> str:
    """Return what the CPU is called, so that measurements of another are not taken for its own.

    Args:
        root: directory in which `proc` lies.
    """
    for line in _read(root / "proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in {"model name", "Hardware", "CPU part"}:
            return f"{platform.machine()} {value.strip()}"[:256]
    return f"{platform.machine()} {platform.processor()}"[:256]


def _groups(root: Path) -> Iterator[Path]:
    """Yield the directory of each control group that bounds the process, as far as it is mounted.

    A line of /proc/self/cgroup is `number:controllers:path`; version 2 has number 0 and no
    controllers. Inside a container the path may be that of the host, of which only the last part is
    mounted, and at the top: so every directory from the path's up to the top is looked at.
    """
    mounts = root / "sys/fs/cgroup"
    tops = {mounts: "/"}
    for line in _read(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            tops[mounts] = tops[mounts / "unified"] = path
        elif "cpu" in controllers.split(","):
            tops[mounts / controllers] = tops[mounts / "cpu"] = path
    for top, path in tops.items():
        group = PurePosixPath(*(part for part in path.split("/") if part not in {"", ".", ".."}))
        yield from (top / one for one in (group, *group.parents))


def _quota(group: Path) -> float | None:
    """Read the quota of one group, in CPUs; None where it has none."""
    words = _read(group / "cpu.max").split() or [
        *_read(group / "cpu.cfs_quota_us").split()[:1],
        *_read(group / "cpu.cfs_period_us").split()[:1],
    ]
    try:
        quota, period = map(int, words)
    except ValueError:  # no such file, or `max`
        return None
    return quota / period if quota > 0 and period > 0 else None  # version 1 says -1 for none


def _read(path: Path) -> str:
    """Return a file of the kernel; empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES).decode(errors="replace")
    except OSError:
        return ""
