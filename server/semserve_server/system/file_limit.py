"""How many files this process may open: a connection is one."""

from __future__ import annotations

import sys

OTHERS = 128
"""Files besides connections: libraries, logs, pipes, bundles that are being read."""


def allow_connections(wanted: int) -> int:
    """Raise the process's own limit as far as so many connections need it and the system lets it.

    A process that has no file left cannot even accept a connection to close it again.

    Returns:
        How many connections may be open at a time, at most `wanted`.
    """
    if sys.platform == "win32":
        return wanted
    import resource  # noqa: PLC0415  (Windows has none)

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    needed = wanted + OTHERS
    if soft != unlimited and soft < needed:
        soft = needed if hard == unlimited else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == unlimited else max(min(wanted, soft - OTHERS), 1)
