"""Sees every request end: counts it, traces it, and logs it where that is asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable

from semserve_server.observe.request import OK, Caller, Request
from semserve_server.observe.tally import MethodTally

log = logging.getLogger(__name__)
access = logging.getLogger("semserve_server.access")


class Observer:
    """The counts of every RPC, and what is done when a request ends."""

    def __init__(
        self, *, trace: Callable[[Request], None] | None = None, access_log: bool = False
    ) -> None:
        """Make one.

        Args:
            trace: given each request that has ended, to export spans of it.
            access_log: whether each request is logged.
        """
        self.methods: dict[str, MethodTally] = {}
        """By name; filled by `method` before anything is served."""
        self._trace = trace
        self._access_log = access_log

    def method(self, name: str) -> MethodTally:
        """Make the counts of an RPC."""
        return self.methods.setdefault(name, MethodTally(name))

    def call(
        self, method: MethodTally, caller: Caller, time_remaining: Callable[[], float | None]
    ) -> Request:
        """Begin to watch a unary call."""
        return Request(method, caller, time_remaining, self._ended)

    def stream(
        self, method: MethodTally, caller: Caller, time_remaining: Callable[[], float | None]
    ) -> Request:
        """Begin to watch a stream, whose messages are requests of their own."""
        return Request(method, caller, time_remaining, self._ended, whole_stream=True)
