"""The deadline of a call."""

from __future__ import annotations

import time


class Deadline:
    """The time until which a call must be answered."""

    __slots__ = ("_end",)

    def __init__(self, seconds: float | None) -> None:
        """Start the time of a call: in seconds, None for no limit."""
        self._end = None if seconds is None else time.monotonic() + seconds

    def remaining(self) -> float | None:
        """Return the seconds that are left; None without a limit."""
        return None if self._end is None else max(self._end - time.monotonic(), 0.0)
