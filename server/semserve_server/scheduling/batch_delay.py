"""Delays the start of a run while the event loop is still receiving requests.

Each run takes Python's interpreter lock from the event loop, and under load a small model waits for
the event loop. One run of many entries costs the event loop much less than many runs. A timer would
delay callers even if no other request arrives. Iterations of the event loop without a new request
show that immediately.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

QUIET_ITERATIONS = 16
"""After this many iterations of the event loop without a new request, no further request is on
its way. A call reaches this code some iterations after gRPC has received it. If other work keeps
the loop busy, iterations are long; an idle loop does 16 iterations in 13 us. With a BERT of two
layers and 64 callers of one pair each, the throughput of five starts was 0.96 to 1.41 times the
throughput without this delay (median 1.16), and with streams 1.08 to 1.48 times (median 1.13)."""


class BatchDelay:
    """Wakes the workers when the event loop stops receiving requests. Used on the event loop."""

    def __init__(self, wake: Callable[[], None], *, should_delay: Callable[[], bool]) -> None:
        """Create a delay that is not active.

        Args:
            wake: wakes workers.
            should_delay: returns whether the queued entries should wait for more.
        """
        self._wake = wake
        self._worthwhile = should_delay
        self._loop = asyncio.get_running_loop()
        self._open = False
        self._quiet_iterations = 0

    def add(self) -> None:
        """Note that entries were queued.

        Workers wake at the end of this loop iteration at the earliest.

        A worker that wakes immediately competes with the event loop for the interpreter lock, and
        runs a batch of only the first request.
        """
        self._quiet_iterations = 0
        if not self._open:
            self._open = True
            self._loop.call_soon(self._iterate)

    @property
    def is_open(self) -> bool:
        """Whether a free worker should wait until it is woken. May be read on any thread."""
        return self._open and self._worthwhile()

    def close(self) -> None:
        """End the delay and drop the callbacks.

        They refer to the owner, and a reference cycle would keep the model in memory.
        """
        self._wake, self._worthwhile = _ignore, _never

    def _iterate(self) -> None:
        self._quiet_iterations += 1
        is_open = False
        try:
            is_open = self._quiet_iterations < QUIET_ITERATIONS and self._worthwhile()
        finally:  # Wake the workers even after an exception: nothing else would.
            if is_open:
                self._loop.call_soon(self._iterate)
            else:
                self._open = False
                self._wake()


def _ignore() -> None:
    """Do nothing: the owner has woken every worker when it closed."""


def _never() -> bool:
    return False
