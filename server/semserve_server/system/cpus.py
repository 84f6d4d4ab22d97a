"""Number and model of the CPUs that this process may use: CPU affinity, and cgroup quotas.

A set of CPUs (`taskset`, or the cpuset controller of a cgroup) is visible in the CPU affinity. A
quota (`docker --cpus`, a Kubernetes limit, systemd's `CPUQuota=`) is not. It is read from the file
system, for the cgroup of the process and for each parent cgroup.
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path("/")
MOST_BYTES = 1 << 20
"""Most bytes that are read from a kernel file."""


def usable_cpus(processes: int = 1, root: Path = ROOT) -> int:
    """Return the number of CPUs that this process may use, by its affinity and its cgroup quota.

    Args:
        processes: number of server processes that divide the CPUs.
        root: directory that contains `proc` and `sys`.
    """
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(root)
    if quota is not None:
        cpus = min(cpus, max(math.ceil(quota), 1))
    return max(cpus // processes, 1)


def cpu_quota(root: Path = ROOT) -> float | None:
    """Return the CPUs that the cgroups grant; None without a quota.

    The result is the minimum over the process's cgroup and its parents, for cgroup version 2
    (`cpu.max`) and version 1 (`cpu.cfs_quota_us`). A machine may use both versions.

    Args:
        root: directory that contains `proc` and `sys`.
    """
    quotas = [quota for group in _groups(root) if (quota := _quota(group)) is not None]
    return min(quotas, default=None)


def cpu_model(root: Path = ROOT) -> str:
    """Return the name of the CPU. Measurements of another CPU are not reused.

    Args:
        root: directory that contains `proc`.
    """
    for line in _read(root / "proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in {"model name", "Hardware", "CPU part"}:
            return f"{platform.machine()} {value.strip()}"[:256]
    return f"{platform.machine()} {platform.processor()}"[:256]


def cpu_features(root: Path = ROOT) -> str:
    """Return what code may depend on of the CPUs: maker, model and instruction sets.

    ONNX Runtime chooses the layout of packed weights by them. All processors count, because a
    machine may have processors of different kinds.

    Args:
        root: directory that contains `proc`.

    Returns:
        Empty if the kernel does not list the instruction sets.
    """
    found: set[str] = set()
    for line in _read(root / "proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in _IDENTITY:
            found.add(f"{name.strip()}: {' '.join(sorted(value.split()))}")
    if not any(line.startswith(("flags", "Features", "isa")) for line in found):
        return ""
    return f"{platform.machine()}; {'; '.join(sorted(found))}"


_IDENTITY = frozenset({
    "vendor_id", "cpu family", "model", "model name", "stepping", "flags",  # x86
    "CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision", "Features",
    "isa", "uarch",  # RISC-V
})  # fmt: skip
"""Lines of /proc/cpuinfo that describe a CPU and not its present state."""


def _groups(root: Path) -> Iterator[Path]:
    """Yield the directory of each mounted cgroup that limits the process.

    A line of /proc/self/cgroup is `number:controllers:path`; version 2 has number 0 and no
    controllers. Inside a container the path may be that of the host, of which only the last part is
    mounted, at the top. So every directory from the path up to the top is examined.
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
    """Read the quota of one cgroup, in CPUs; None without a quota."""
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
    """Return the content of a kernel file; empty if the file cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES).decode(errors="replace")
    except OSError:
        return ""
