"""The first entries of a fair queue, as arrays."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import chain, compress
from typing import Generic, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from semserve_server.scheduling.caller_queue import CallerQueue, Entry, Owner

BoolArray: TypeAlias = NDArray[np.bool_]
IntArray: TypeAlias = NDArray[np.int64]


class Served(NamedTuple, Generic[Owner]):
    """What one caller receives of a batch."""

    caller: CallerQueue[Owner]
    entries: int
    tokens: int
    cost: int
    """Tokens that the caller is charged for: an entry of no tokens costs one."""


class Window(Generic[Owner]):
    """The entries of all callers, and the order in which the first of them have their turns."""

    def __init__(self, callers: Sequence[CallerQueue[Owner]], most_tokens: float) -> None:
        """Create the window of the first entries.

        Args:
            callers: each has entries, and all its entries wait. Of two entries with equal virtual
                times, that of the caller that is first here is first.
            most_tokens: the first entry with which this is reached is the last one.
        """
        self._callers = callers
        self._sizes = np.array([caller.waiting for caller in callers])
        self._begins = np.cumsum(self._sizes) - self._sizes
        self._lengths = np.frombuffer(b"".join([caller.lengths for caller in callers]), np.intc)
        self._costs = np.maximum(self._lengths, 1)
        # An entry has its turn at the virtual time of its caller after those before it.
        before = np.cumsum(self._costs) - self._costs
        before -= np.repeat(before[self._begins], self._sizes)
        times = np.repeat(np.array([caller.time for caller in callers]), self._sizes)
        order = np.argsort(times + before, kind="stable")
        size = 1 + int(np.searchsorted(np.cumsum(self._costs[order]), most_tokens))
        self._order = order[:size]
        self.lengths = self._lengths[self._order]
        """Tokens of each entry of the window, in the order of the turns; int32 [entries]."""

    def remove(self, chosen: IntArray) -> tuple[list[Entry[Owner]], list[Served[Owner]]]:
        """Remove entries from the queues of their callers. The callers are not charged.

        Args:
            chosen: indices in `lengths`, each once, at least one.

        Returns:
            The entries, and how many left each caller that had some of them.
        """
        gone = np.zeros(len(self._lengths), np.bool_)
        gone[self._order[chosen]] = True
        kept = ~gone
        taken = list(
            compress(chain.from_iterable([one.entries for one in self._callers]), gone.tobytes())
        )
        left, flags = self._lengths[kept].tobytes(), kept.tobytes()
        served, start = [], 0
        sums = zip(
            self._callers,
            self._begins.tolist(),
            self._sum(gone),
            self._sum(np.where(gone, self._lengths, 0)),
            self._sum(np.where(gone, self._costs, 0)),
            strict=True,
        )
        for caller, begin, entries, tokens, cost in sums:
            size = caller.waiting
            end = start + (size - entries) * self._lengths.itemsize
            if entries:
                caller.entries = list(compress(caller.entries, flags[begin : begin + size]))
                caller.lengths = array("i", left[start:end])
                served.append(Served(caller, entries, tokens, cost))
            start = end
        return taken, served

    def _sum(self, values: BoolArray | IntArray) -> list[int]:
        """Return the sum of the values of each caller's entries."""
        return np.add.reduceat(values, self._begins, dtype=np.int64).tolist()
