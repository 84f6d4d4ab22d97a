"""The limits that a process sets for itself before it reads an untrusted model."""

import ctypes
import os
import resource
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semserve_export.confinement.landlock import restrict_writes

CPU_SECONDS = 12 * 3600  # for an export; the largest models take minutes
CPU_GRACE = 10  # seconds from SIGXCPU, whose name is printed, to SIGKILL
LARGEST_FILE = 64 << 30  # bytes
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38  # linux/prctl.h
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000  # linux/sched.h
SOCKETS = ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto", "socket.sendmsg")
PROGRAMS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty")
PICKLES = ("pickle.find_class",)

_confined = False


@dataclass(frozen=True, slots=True)
class Confinement:
    """The permissions of one command."""

    reads: tuple[str, ...]
    """The untrusted models, as messages name them."""
    writes: tuple[str, ...] | None = None
    """The directories that the command writes to; None if a download writes to its caches."""
    network: bool = False
    """Whether the command downloads a preset by its name."""
    cpu_seconds: int | None = CPU_SECONDS
    """Maximum processor time in seconds; None for a training."""


class NeedsConfinement(Exception):
    """The command reads an untrusted model, and this process is not confined."""

    def __init__(self, confinement: Confinement) -> None:
        super().__init__(confinement)
        self.confinement = confinement


def require(confinement: Confinement) -> None:
    """Raise an error unless this process is confined.

    Raises:
        NeedsConfinement: this process is not confined.
    """
    if not _confined:
        raise NeedsConfinement(confinement)


def confine(confinement: Confinement, private: Path) -> None:
    """Drop all permissions that the command does not need, before any thread is started.

    Args:
        confinement: the permissions to keep.
        private: the directory of temporary files.
    """
    global _confined  # noqa: PLW0603 - a fact of the process
    _confined = True
    _limit_resources(confinement)
    if sys.platform == "linux":
        _leave_linux(confinement, private)
    refused = {*PROGRAMS, *PICKLES, *(() if confinement.network else SOCKETS)}
    sys.addaudithook(lambda event, _: _refuse(event) if event in refused else None)


def _limit_resources(confinement: Confinement) -> None:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    _lower(resource.RLIMIT_DATA, memory)
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_FSIZE, LARGEST_FILE)
    if confinement.cpu_seconds:
        _lower(resource.RLIMIT_CPU, confinement.cpu_seconds, CPU_GRACE)


def _lower(limit: int, most: int, grace: int = 0) -> None:
    """Lower a soft limit, and set the hard limit to `grace` above it."""
    bounds = [bound for bound in resource.getrlimit(limit) if bound != resource.RLIM_INFINITY]
    resource.setrlimit(limit, (min([most, *bounds]), min([most + grace, *bounds])))


def _leave_linux(confinement: Confinement, private: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if not confinement.network:
        _leave_network(libc)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # end with the command
    if confinement.writes is not None:
        restrict_writes([private, *map(Path, confinement.writes)])


def _leave_network(libc: Any) -> None:
    """Move to a separate network namespace; if the system does not allow it, do nothing."""
    if libc.unshare(CLONE_NEWNET) != 0 and _may_have_namespaces(libc):
        _make_namespaces(libc)


def _may_have_namespaces(libc: Any) -> bool:
    """Try it in a separate process, because a process that fails halfway cannot continue."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            _make_namespaces(libc)
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _make_namespaces(libc: Any) -> None:
    """Leave the network without privileges, as the same user.

    Raises:
        OSError: the system does not allow it.
    """
    user, group = os.getuid(), os.getgid()
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0:
        raise PermissionError("unshare")
    for name, line in (
        ("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")
    ):  # fmt: skip
        Path("/proc/self", name).write_text(line, encoding="ascii")


def _refuse(event: str) -> None:
    raise PermissionError(f"{event} is refused while a model is read that nobody vouches for")
