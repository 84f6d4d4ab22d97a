"""The queued entries of one caller. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import ceil, inf
from typing import Generic, TypeVar

from semserve_server.runtime.encoding import Encoding

Owner = TypeVar("Owner")


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

    __slots__ = ("earliest", "entries", "ticket", "time", "tokens", "waiting")

    def __init__(self, time: float) -> None:
        self.entries: deque[Entry[Owner]] = deque()
        self.waiting = 0
        """Number of entries that were not dropped; `entries` may contain dropped ones too."""
        self.tokens = 0
        self.time = time
        """Virtual time, in tokens."""
        self.earliest = inf
        """No entry expires before this instant."""
        self.ticket = 0
        """Number of the caller's item in the heap; items with other numbers are outdated. 0 for
        none."""

    def all_in_time(self, now: float) -> bool:
        """Return whether no entry has expired. Dropped ones are removed first."""
        if len(self.entries) > self.waiting:
            self.entries = deque(entry for entry in self.entries if entry.waiting)
        if self.earliest <= now:
            self.earliest = min(entry.deadline for entry in self.entries)
        return self.earliest > now

    def take(self, count: int) -> list[Entry[Owner]]:
        """Remove and return the first entries. None of them was dropped or has expired."""
        popleft = self.entries.popleft
        taken = [popleft() for _ in range(count)]
        for entry in taken:
            entry.waiting = False
        return taken

    def turns(self, length: int, level: float) -> int:
        """Return how many entries of `length` tokens have their turn before a virtual time."""
        return max(0, min(self.waiting, ceil((level - self.time) / length)))
