"""The first entries of a fair queue, as arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Generic, TypeAlias

import numpy as np
from numpy.typing import NDArray

from semserve_server.scheduling.caller_queue import CallerQueue, Entry, Owner

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
        sizes = [caller.waiting for caller in self._callers]
        self._ends = np.cumsum(sizes)
        lengths = np.frombuffer(b"".join([one.lengths for one in self._callers]), np.intc)
        before = np.cumsum(lengths) - lengths
        starts = [int(caller.time) for caller in self._callers]
        turns = before + np.repeat(starts - before[self._ends - sizes], sizes)
        turns -= min(starts)
        if turns.max() < MAX_RADIX:
            turns = turns.astype(np.uint16)
        order = np.argsort(turns, kind="stable")
        size = 1 + int(np.searchsorted(np.cumsum(lengths[order]), most_tokens))
        self._order = order[:size]
        self._all_lengths = lengths
        self.lengths = lengths[self._order]
        """Tokens of each entry of the window, in the order of the turns; int32 [entries]."""

    def take(
        self, chosen: IntArray
    ) -> Iterator[tuple[CallerQueue[Owner], list[Entry[Owner]], int]]:
        """Remove entries from the queues of their callers. The callers are not charged.

        Args:
            chosen: indices in `lengths`, each once, at least one.

        Yields:
            Each caller that had some of them, its entries, and their tokens.
        """
        flags = np.zeros(len(self._all_lengths), np.uint8)
        flags[self._order[chosen]] = 1
        begins = [0, *self._ends[:-1]]
        counts = np.add.reduceat(flags, begins, dtype=np.int64).tolist()
        tokens = np.add.reduceat(flags * self._all_lengths, begins, dtype=np.int64).tolist()
        flags = flags.tobytes()
        ends = self._ends.tolist()
        for caller, end, count, total in zip(self._callers, ends, counts, tokens, strict=True):
            if count:
                yield caller, caller.take(flags[end - caller.waiting : end], count), total
