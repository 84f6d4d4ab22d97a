"""A rate limiter in tokens per second. Pure: the clock is an argument."""

from __future__ import annotations


class RateLimiter:
    """A token bucket that holds at most the tokens of one second, and may go into debt.

    A request may cost more than the bucket can hold. So a request may start while the bucket is not
    empty, even if it costs more than the bucket contains. The next request waits until the debt is
    paid, which keeps the rate exact.
    """

    def __init__(self, per_second: float, *, now: float) -> None:
        """Create a full bucket.

        Args:
            per_second: tokens that flow in each second.
            now: present time in seconds, as in all methods.
        """
        self._per_second = per_second
        self._level = per_second
        self._seen = now

    def __repr__(self) -> str:
        return f"<RateLimiter {self._level:.0f} of {self._per_second:g}>"

    def wait(self, now: float) -> float:
        """Return the seconds until the next request may start; 0 if it may start now."""
        self._flow(now)
        return max(-self._level, 0.0) / self._per_second

    def spend(self, tokens: int, now: float) -> None:
        """Take tokens out. A negative number puts tokens back."""
        self._flow(now)
        self._level -= tokens

    def _flow(self, now: float) -> None:
        self._level += (now - self._seen) * self._per_second
        self._level = min(self._level, self._per_second)
        self._seen = now
