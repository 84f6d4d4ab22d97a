"""Callers that obey the delay for which an overloaded server asks."""

from __future__ import annotations

import time
from collections.abc import Callable

import grpc

PUSHBACK = "grpc-retry-pushback-ms"


class Restraint:
    """One caller's delays. Requests that become due in a delay fail at once and are not sent.

    A caller whose request was refused knows that others like it would be refused too. So does the
    client-side throttling of "Site Reliability Engineering" (O'Reilly, 2016), chapter 21.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._until = 0.0

    def holds(self) -> bool:
        """Return whether the delay is not over."""
        return self._clock() < self._until

    def note(self, refused: grpc.aio.AioRpcError) -> None:
        """Begin the delay for which the refusal asks, if it asks for one."""
        request = dict(refused.trailing_metadata() or ()).get(PUSHBACK)
        if request is not None:
            self._until = max(self._until, self._clock() + float(request) / 1e3)
