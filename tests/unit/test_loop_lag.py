"""How late the event loop is, is entered at every look."""

from __future__ import annotations

import asyncio

from semserve_server.instrumentation.counters import Histogram
from semserve_server.observability.loop_lag import measuring_loop_lag


async def test_each_look_enters_how_long_after_its_instant_it_takes_place() -> None:
    """By a clock that tells each time when it is asked: due at 0, the first look comes at 3."""
    instants = iter([0.0, 3.0, 3.0, 3.5, 3.5, 3.0, *[3.0] * 1000])
    histogram = Histogram([0.1, 1.0, 10.0])
    with measuring_loop_lag(histogram, interval=0, clock=lambda: next(instants)):
        for _ in range(100):
            if sum(histogram.counts) == 3:
                break
            await asyncio.sleep(0)
    assert 3.5 == histogram.sum
    assert [1, 1, 1, 0] == histogram.counts
    for _ in range(10):
        await asyncio.sleep(0)
    assert 3 == sum(histogram.counts)
