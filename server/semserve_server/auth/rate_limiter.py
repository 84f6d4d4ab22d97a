"""A rate in tokens a second. Pure: the clock is an argument."""

from __future__ import annotations


class RateLimiter:
    """Holds the tokens that may be spent, which flow in at a steady rate, to at most a second's.

    A request may cost more than the bucket ever holds. So it may be spent from as long as it is not
    empty, and by more than it holds: the debt is waited for before anything is spent again, which
    keeps the rate exact.
    """

    def __init__(self, per_second: float, *, now: float) -> None:
        """Make a full bucket.

        Args:
            per_second: tokens that flow in.
            now: an instant on the caller's clock, in seconds, as everywhere here.
        """
        self._per_second = per_second
        self._level = per_second
        self._seen = now

    def __repr__(self) -> str:
        return f"<RateLimiter {self._level:.0f} of {self._per_second:g}>"

    def wait(self, now: float) -> float:
        """Return the seconds until something may be spent; 0 where it may at once."""
        self._flow(now)
        return max(-self._level, 0.0) / self._per_second

    def spend(self, tokens: int, now: float) -> None:
        """Take tokens out, or with a negative number put them back."""
        self._flow(now)
        self._level -= tokens

    def _flow(self, now: float) -> None:
        self._level += (now - self._seen) * self._per_second
        self._level = min(self._level, self._per_second)
        self._seen = now
