"""The context of a handler: what the caller sent, and the metadata that goes back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from math import inf
from time import monotonic
from typing import Any, TypeAlias

NEVER = 1e12
"""Seconds since 1970. grpcio gives calls without a deadline a later one."""

Metadata: TypeAlias = Sequence[tuple[str, str | bytes]]


class CallContext:
    """The methods of `grpc.aio.ServicerContext` that send nothing."""

    __slots__ = ("_callbacks", "_core", "_deadline", "_metadata", "_peer", "_trailers")

    def __init__(self, event: Any) -> None:
        """Create a context.

        Args:
            event: the `cygrpc.RequestCallEvent` of the call.
        """
        self._core = event.call
        deadline: float = event.call_details.deadline
        # The wall's clock may step later.
        self._deadline = inf if deadline > NEVER else monotonic() + deadline - time.time()
        self._metadata: Metadata = event.invocation_metadata
        self._peer = ""
        self._trailers: Metadata = ()
        self._callbacks: list[Callable[[Any], object]] = []

    def invocation_metadata(self) -> Metadata:
        """Return the metadata that the caller sent."""
        return self._metadata

    def peer(self) -> str:
        """Return the address of the caller."""
        if not self._peer:
            self._peer = self._core.peer().decode()
        return self._peer

    def time_remaining(self) -> float | None:
        """Return the seconds until the deadline; None without a deadline."""
        if self._deadline == inf:
            return None
        return max(self._deadline - monotonic(), 0.0)

    def set_trailing_metadata(self, metadata: Metadata) -> None:
        """Set the metadata that is sent with the status."""
        self._trailers = tuple(metadata)

    def trailing_metadata(self) -> Metadata:
        """Return the metadata that is sent with the status."""
        return self._trailers

    def add_done_callback(self, callback: Callable[[Any], object]) -> None:
        """Call a function when the status was sent and the handler has ended."""
        self._callbacks.append(callback)
