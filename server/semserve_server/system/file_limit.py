"""The limit of open files of this process. Each connection needs one."""

from __future__ import annotations

import sys

OTHER_FILES = 128
"""Open files besides connections: libraries, logs, pipes, bundles that are being read."""


def allow_connections(wanted: int) -> int:
    """Raise the soft limit of open files, as far as the hard limit allows.

    A process without a free file descriptor cannot even accept a connection to close it.

    Args:
        wanted: connections that should be possible.

    Returns:
        Number of connections that may be open at a time, at most `wanted`.
    """
    if sys.platform == "win32":
        return wanted
    import resource  # noqa: PLC0415  (Windows has none)

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    needed = wanted + OTHER_FILES
    if soft != unlimited and soft < needed:
        soft = needed if hard == unlimited else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == unlimited else max(min(wanted, soft - OTHER_FILES), 1)
