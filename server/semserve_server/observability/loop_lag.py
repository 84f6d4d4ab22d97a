"""Measures the lag of the event loop: backlog that the duration of requests does not show."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator

from semserve_server.instrumentation.counters import Histogram

INTERVAL = 0.25
"""Seconds between two measurements."""


@contextlib.contextmanager
def measuring_loop_lag(
    histogram: Histogram,
    *,
    interval: float = INTERVAL,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[None]:
    """Observe in a histogram, in seconds, how late a timer of the event loop fires.

    The duration of a request starts when its handler starts. Before that, a call waits in gRPC's
    queue for the event loop, for about as long as the timer.

    Args:
        histogram: of seconds.
        interval: seconds between two measurements.
        clock: in seconds.
    """
    loop = asyncio.get_running_loop()

    def measure(due: float) -> None:
        histogram.observe(max(clock() - due, 0.0))
        timers[0] = loop.call_later(interval, measure, clock() + interval)

    timers = [loop.call_later(interval, measure, clock() + interval)]
    try:
        yield
    finally:
        timers[0].cancel()
