"""The queued entries of one caller. Pure."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from itertools import compress
from math import inf
from typing import Generic, TypeVar

from semserve_server.runtime.encoding import Encoding

Owner = TypeVar("Owner")

INVERT = bytes([1, 0]).ljust(256, b"\0")
"""Translates flags, 0 or 1, to the opposite."""


@dataclass(slots=True, eq=False)
class Entry(Generic[Owner]):
    """A queued encoding, with its request (the owner) and its index in the request."""

    encoding: Encoding
    length: int
    deadline: float
    """Instant, in seconds of the queue's clock, after which the result is not wanted."""
    owner: Owner
    index: int
    caller: str = ""
    """Name of the caller whose share of the runs the entry uses."""
    waiting: bool = False
    """Whether the entry is in the queue and was not dropped."""


class CallerQueue(Generic[Owner]):
    """The entries of one caller, the oldest first, and the caller's position in the heap."""

    __slots__ = (
        "earliest", "entries", "lengths", "popped", "ticket", "time", "tokens", "waiting",
    )  # fmt: skip

    def __init__(self, time: float) -> None:
        self.entries: list[Entry[Owner]] = []
        self.lengths = array("i")
        """Tokens of each of the entries, for numpy. An entry of no tokens counts as one."""
        self.popped = 0
        """Number of first entries that were popped and may return to the queue."""
        self.waiting = 0
        """Number of entries that wait; `entries` may contain others too, until `compact`."""
        self.tokens = 0
        self.time = time
        """Virtual time, in tokens."""
        self.earliest = inf
        """No entry expires before this instant."""
        self.ticket = 0
        """Number of the caller's item in the heap; items with other numbers are outdated. 0 for
        none."""

    def append(self, entry: Entry[Owner]) -> None:
        """Add an entry."""
        entry.waiting = True
        self.entries.append(entry)
        self.lengths.append(entry.length or 1)
        self.waiting += 1
        self.tokens += entry.length or 1
        self.earliest = min(self.earliest, entry.deadline)

    def expired(self, now: float) -> list[Entry[Owner]]:
        """Return the waiting entries that have expired. They stay."""
        waiting = [entry for entry in self.entries if entry.waiting]
        self.earliest = min([entry.deadline for entry in waiting if entry.deadline > now] or [inf])
        return [entry for entry in waiting if entry.deadline <= now]

    def take(self, chosen: bytes, tokens: int) -> list[Entry[Owner]]:
        """Remove and return entries, and charge the caller for them.

        Args:
            chosen: for each entry, whether it is taken: 1 or 0. At least one is.
            tokens: of the entries that are taken.
        """
        size, count = chosen.rfind(1) + 1, chosen.count(1)
        if size == count:
            taken = self.entries[:size]
            del self.entries[:size], self.lengths[:size]
        else:
            chosen = chosen[:size]
            taken = [*compress(self.entries, chosen)]
            self._keep(size, [*compress(self.entries, chosen.translate(INVERT))])
        for entry in taken:
            entry.waiting = False
        self.waiting -= count
        self.tokens -= tokens
        self.time += tokens
        return taken

    def compact(self, size: int) -> None:
        """Remove those of the first `size` entries that do not wait."""
        self.popped = place = 0
        entries = self.entries
        while place < size and not entries[place].waiting:
            place += 1
        if place == size:
            del entries[:size], self.lengths[:size]
        else:
            self._keep(size, [entry for entry in entries[:size] if entry.waiting])

    def _keep(self, size: int, kept: list[Entry[Owner]]) -> None:
        """Put entries in the place of the first `size`, of which they are a part."""
        if len(kept) < size:
            self.entries[:size] = kept
            self.lengths[:size] = array("i", [entry.length or 1 for entry in kept])
