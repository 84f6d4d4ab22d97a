"""How late the event loop is: the backlog that no request's own time shows."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator

from semserve_server.instrumentation.counters import Histogram

INTERVAL = 0.25
"""Seconds between two looks."""


@contextlib.contextmanager
def measuring_loop_lag(
    histogram: Histogram,
    *,
    interval: float = INTERVAL,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[None]:
    """Enter into a histogram, in seconds, how long after its instant each look takes place.

    A request is timed from when its handler begins. Before that it waits in gRPC's queue for the
    event loop, as long as a look does.

    Args:
        histogram: of seconds.
        interval: seconds between two looks.
        clock: in seconds.
    """
    loop = asyncio.get_running_loop()

    def look(due: float) -> None:
        histogram.observe(max(clock() - due, 0.0))
        timers[0] = loop.call_later(interval, look, clock() + interval)

    timers = [loop.call_later(interval, look, clock() + interval)]
    try:
        yield
    finally:
        timers[0].cancel()
