"""How many CPUs a process may use, read from trees as kernels and containers make them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from semserve_server.system.cpus import cpu_features, cpu_model, cpu_quota, usable_cpus


def tree(root: Path, files: dict[str, str]) -> Path:
    """Write the files of /proc and /sys that a machine has."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


SELF = "proc/self/cgroup"
V2 = "sys/fs/cgroup"
CASES = {
    "no control groups": ({}, None),
    "version 2 without a quota": ({SELF: "0::/\n", f"{V2}/cpu.max": "max 100000\n"}, None),
    "a container of version 2": ({SELF: "0::/\n", f"{V2}/cpu.max": "150000 100000\n"}, 1.5),
    "no /proc at all": ({f"{V2}/cpu.max": "50000 100000\n"}, 0.5),
    "systemd's CPUQuota= of a service": (
        {
            SELF: "0::/system.slice/semserve.service\n",
            f"{V2}/system.slice/cpu.max": "max 100000\n",
            f"{V2}/system.slice/semserve.service/cpu.max": "200000 100000\n",
        },
        2.0,
    ),
    "CPUQuota= of the slice around it": (
        {
            SELF: "0::/a.slice/a-b.slice/c.service\n",
            f"{V2}/a.slice/cpu.max": "100000 100000\n",
            f"{V2}/a.slice/a-b.slice/cpu.max": "400000 100000\n",
            f"{V2}/a.slice/a-b.slice/c.service/cpu.max": "max 100000\n",
        },
        1.0,
    ),
    "the host's path in a container that has the mount's top alone": (
        {SELF: "0::/docker/0123\n", f"{V2}/cpu.max": "300000 100000\n"},
        3.0,
    ),
    "a path that leads out of the container": (
        {SELF: "0::/../../other\n", f"{V2}/cpu.max": "300000 100000\n"},
        3.0,
    ),
    "version 1": (
        {
            SELF: "5:cpuset:/\n4:cpu,cpuacct:/docker/0123\n",
            f"{V2}/cpu,cpuacct/docker/0123/cpu.cfs_quota_us": "250000\n",
            f"{V2}/cpu,cpuacct/docker/0123/cpu.cfs_period_us": "100000\n",
            f"{V2}/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
            f"{V2}/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        },
        2.5,
    ),
    "version 1 inside a container": (
        {
            SELF: "4:cpu,cpuacct:/docker/0123\n",
            f"{V2}/cpu/cpu.cfs_quota_us": "200000\n",
            f"{V2}/cpu/cpu.cfs_period_us": "50000\n",
        },
        4.0,
    ),
    "version 1 without a quota": (
        {
            SELF: "4:cpu:/\n",
            f"{V2}/cpu/cpu.cfs_quota_us": "-1\n",
            f"{V2}/cpu/cpu.cfs_period_us": "100000\n",
        },
        None,
    ),
    "both versions at once": (
        {
            SELF: "4:cpu:/a\n0::/b\n",
            f"{V2}/cpu/a/cpu.cfs_quota_us": "200000\n",
            f"{V2}/cpu/a/cpu.cfs_period_us": "100000\n",
            f"{V2}/unified/b/cpu.max": "100000 100000\n",
        },
        1.0,
    ),
    "files that say nothing": ({SELF: "0::/\n", f"{V2}/cpu.max": "many 0\n"}, None),
    "a period of zero": ({SELF: "0::/\n", f"{V2}/cpu.max": "100000 0\n"}, None),
    "lines that are none": ({SELF: "\n:\n::::\n0::\n", f"{V2}/cpu.max": "100000 100000"}, 1.0),
}


@pytest.mark.parametrize("name", CASES)
def test_the_quota_is_the_least_of_all_groups_around_the_process(name: str, tmp_path: Path) -> None:
    files, quota = CASES[name]
    assert quota == cpu_quota(tree(tmp_path, files))


@pytest.mark.parametrize(("quota", "processes", "cpus"), [
    ("10000 100000", 1, 1), ("max 100000", 10_000, 1), ("100000 100000", 2, 1),
])  # fmt: skip
def test_there_is_always_a_cpu_to_use(
    quota: str, processes: int, cpus: int, tmp_path: Path
) -> None:
    root = tree(tmp_path, {SELF: "0::/\n", f"{V2}/cpu.max": quota})
    assert cpus == usable_cpus(processes, root)


def test_without_a_quota_the_affinity_decides(tmp_path: Path) -> None:
    assert len(os.sched_getaffinity(0)) == usable_cpus(root=tmp_path)


def test_the_cpu_is_told_by_its_model(tmp_path: Path) -> None:
    root = tree(tmp_path, {"proc/cpuinfo": "processor\t: 0\nmodel name\t: A CPU 9000\n"})
    assert cpu_model(root).endswith("A CPU 9000")
    assert cpu_model(tmp_path / "nowhere")


CPU = "processor : 0\nvendor_id : A\nmodel name : B 9\ncpu MHz : {}\nflags : fpu {}\n"


def test_the_features_of_a_cpu_change_with_its_instruction_sets_and_not_with_its_clock(
    tmp_path: Path,
) -> None:
    def features(content: str) -> str:
        return cpu_features(tree(tmp_path, {"proc/cpuinfo": content}))

    first = features(CPU.format(2000, "avx avx2"))
    assert "avx2" in first
    assert first == features(CPU.format(3000, "avx2 avx"))
    assert first != features(CPU.format(2000, "avx avx2 avx512f"))
    assert first != features(CPU.format(2000, "avx avx2") + CPU.format(2000, "avx"))
    assert "" == features("processor : 0\nmodel name : B 9\n")
