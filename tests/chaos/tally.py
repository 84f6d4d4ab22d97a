"""What became of every request: each has one fate, and some fates must not be."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

MOST_SAMPLES = 20
"""How many faults are told word by word."""


class Fate(StrEnum):
    """What became of a request."""

    RIGHT = "right"
    INVALID = "invalid"
    """It was malformed, and its answer says so."""
    REFUSED = "refused"
    """The door said that there is too much, or that it would come too late."""
    ABANDONED = "abandoned"
    """Its caller left: by cancelling, by its deadline or by cutting the connection."""
    WRONG = "wrong"
    MISROUTED = "misrouted"
    """The answer is right for another request."""
    MISSING = "missing"
    """Nothing came, though the call ended well or went on for ever."""
    TWICE = "twice"
    """A second answer came, or one that nobody asked for."""
    UNEXPECTED = "unexpected"
    """A status for which there is no reason."""


FAULTS = (Fate.WRONG, Fate.MISROUTED, Fate.MISSING, Fate.TWICE, Fate.UNEXPECTED)


@dataclass(slots=True)
class Tally:
    """Counts of fates."""

    sent: int = 0
    """Requests that were sent."""
    fates: Counter[str] = field(default_factory=Counter)
    ways: Counter[str] = field(default_factory=Counter)
    """How often callers did what."""
    samples: list[str] = field(default_factory=list)
    """The first faults, in words."""

    def add(self, fate: Fate, sample: str = "") -> None:
        """Count a fate."""
        self.fates[fate] += 1
        if fate in FAULTS and len(self.samples) < MOST_SAMPLES:
            self.samples.append(f"{fate}: {sample}")

    def merge(self, other: Tally) -> None:
        """Take in another client's counts."""
        self.sent += other.sent
        self.fates.update(other.fates)
        self.ways.update(other.ways)
        self.samples = (self.samples + other.samples)[:MOST_SAMPLES]

    @property
    def faults(self) -> int:
        """How many requests met a fate that must not be, those without any fate included."""
        return sum(self.fates[fate] for fate in FAULTS) + abs(self.sent - self.fates.total())
