"""Whether the event loop is about to bring more, so that what waits should not run yet.

Every run takes the interpreter from the event loop, which is what a small model waits for under
load, and one run of many entries costs it much less than many runs. A timer would make callers wait
where nobody else comes; turns of the loop that bring nothing tell that at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

QUIET_TURNS = 16
"""So many turns of the loop without anything new, and nothing more is on its way. A call comes to
us some turns after gRPC has it. Where other work keeps the loop busy, turns are long; a loop that
has none turns 16 times in 13 us. Of a BERT of two layers and 64 callers of one pair each, the
throughput of five starts was 0.96 to 1.41 times what it is where lanes wake at the end of the turn,
1.16 times in the middle; on streams 1.08 to 1.48 times, and 1.13."""


class BatchDelay:
    """Wakes lanes for what the event loop has brought, once it brings no more. Lives on it."""

    def __init__(self, wake: Callable[[], None], *, worthwhile: Callable[[], bool]) -> None:
        """Make one.

        Args:
            wake: wakes lanes.
            worthwhile: whether what waits should go on waiting, if more may be on its way.
        """
        self._wake = wake
        self._worthwhile = worthwhile
        self._loop = asyncio.get_running_loop()
        self._open = False
        self._quiet_turns = 0

    def add(self) -> None:
        """Take note that something waits; lanes wake at the end of this turn at the earliest.

        A lane that is woken at once fights the event loop for the interpreter, and runs a batch of
        the first request alone.
        """
        self._quiet_turns = 0
        if not self._open:
            self._open = True
            self._loop.call_soon(self._turn)

    @property
    def is_open(self) -> bool:
        """Whether a free lane should leave what waits until it is woken. From any thread."""
        return self._open and self._worthwhile()

    def close(self) -> None:
        """Drop what it was made with: nothing waits any more for what the loop may bring."""
        self._wake, self._worthwhile = _wake_nobody, _never

    def _turn(self) -> None:
        self._quiet_turns += 1
        is_open = False
        try:
            is_open = self._quiet_turns < QUIET_TURNS and self._worthwhile()
        finally:  # Whatever raises, lanes wake: nobody else would wake them.
            if is_open:
                self._loop.call_soon(self._turn)
            else:
                self._open = False
                self._wake()


def _wake_nobody() -> None:
    """Do nothing: every lane was woken when the owner closed."""


def _never() -> bool:
    return False
