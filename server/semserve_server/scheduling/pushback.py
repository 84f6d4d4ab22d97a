"""After what delay refused callers should return: in turns, as the model can take them. Pure.

If every refused caller returned when the queue has room for one request, all but one would be
refused again, and refusals would take the CPU from the runs.
"""

from __future__ import annotations

SPREAD = 4
"""Turns are this many times longer than the model needs for a request. With 1, callers that obey
are still refused about once for each answer."""
MAX_SECONDS = 1.0
"""Longest delay, however many callers return too early."""
FORGETTING_FACTOR = 0.99
"""Weight of an admitted request after the next one: about the last hundred decide."""


class Pushback:
    """The turns that were given to refused callers, for one model."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._next = 0.0

    def admitted(self, seconds: float) -> None:
        """Learn how long the runs of a request take."""
        self._seconds += (1 - FORGETTING_FACTOR) * (seconds - self._seconds)

    def refused(self, now: float, least: float) -> float:
        """Give a refused caller a turn, and return the delay until then in seconds.

        Args:
            now: instant, in seconds of any clock.
            least: seconds after which the queue should have room for the request.
        """
        turn = max(self._next, now) + SPREAD * self._seconds
        self._next = min(turn, now + MAX_SECONDS)
        return max(least, self._next - now)
