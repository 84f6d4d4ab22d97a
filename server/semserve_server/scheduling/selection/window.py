"""The first entries of a fair queue, as arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from operator import add
from typing import Generic, TypeAlias

import numpy as np
from numpy.typing import NDArray

from semserve_server.scheduling.caller_queue import CallerQueue, Owner

IntArray: TypeAlias = NDArray[np.int64]

MAX_RADIX = 1 << 16
"""Keys below this are sorted as 16-bit integers, in a time that is linear in their number."""


class Window(Generic[Owner]):
    """The entries of all callers, and the order in which the first of them have their turns."""

    def __init__(self, callers: Sequence[CallerQueue[Owner]], most_tokens: float) -> None:
        """Create the window of the first entries.

        Args:
            callers: each has entries, and all its entries wait.
            most_tokens: the first entry with which this is reached is the last one.
        """
        # The turn of an entry is the virtual time of its caller after the entries before it. Turns
        # are sorted by their integer part, so the callers are sorted by the rest. Of equal turns,
        # that of the caller with fewer turns before it is first, as if they were served one by one.
        self._callers = sorted(callers, key=lambda one: (one.time % 1, -one.time, one.ticket))
        self._sizes = [caller.waiting for caller in self._callers]
        self._lengths = np.frombuffer(b"".join([one.lengths for one in self._callers]), np.intc)
        times = [int(caller.time) for caller in self._callers]
        tokens = [caller.tokens for caller in self._callers]
        sums = [*accumulate(tokens, initial=-min(times))]
        starts = [time - before for time, before in zip(times, sums, strict=False)]
        turns = self._lengths.cumsum()
        turns -= self._lengths
        turns += np.repeat(starts, self._sizes)
        if max(map(add, times, tokens)) - min(times) < MAX_RADIX:
            turns = turns.astype(np.uint16)
        self._order = turns.argsort(kind="stable")
        self.lengths = self._lengths[self._order]
        """Tokens of each entry of the window, in the order of the turns; int32 [entries]."""
        if sum(tokens) > most_tokens:
            size = 1 + self.lengths.cumsum().searchsorted(most_tokens)
            self.lengths = self.lengths[:size]

    def split(self, chosen: IntArray) -> Iterator[tuple[CallerQueue[Owner], bytes, int]]:
        """Return what is chosen of each caller.

        Args:
            chosen: indices in `lengths`, each once, at least one.

        Yields:
            A caller, the flags of its entries (1 if chosen, otherwise 0), and the tokens of those
            that are chosen.
        """
        flags = np.zeros(len(self._lengths), np.uint8)
        flags[self._order[chosen]] = 1
        ends = [*accumulate(self._sizes, initial=0)]
        tokens = np.add.reduceat(flags * self._lengths, ends[:-1], dtype=np.int64).tolist()
        of_all = flags.tobytes()
        of_each = [of_all[start:end] for start, end in pairwise(ends)]
        return zip(self._callers, of_each, tokens, strict=True)
