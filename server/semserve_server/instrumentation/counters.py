"""Counts and times in plain numbers, which cost a request next to nothing.

Only the event loop changes them; `metrics` reads them from another thread when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

SECONDS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
"""Bounds of histograms of time: a lone short text takes some milliseconds, a deadline seconds."""
ENTRIES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
"""Bounds of the histogram of batch sizes."""


LATE = 0.1
"""Share of a deadline's time at whose end a caller that leaves is taken to leave for the deadline:
its own clock began to run earlier than ours, by the way here."""


def late(*, elapsed: float, remaining: float) -> bool:
    """Tell whether who leaves now does so because its deadline has come, both in seconds."""
    return remaining <= LATE * (elapsed + remaining) < float("inf")


class Histogram:
    """How many values lay under each bound, and their sum."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """Values up to each bound and over the one before; the last, those over all bounds."""
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Outcomes:
    """How many have begun, and how they ended."""

    def __init__(self) -> None:
        self.begun = 0
        self.codes: Counter[str] = Counter(OK=0)
        """Those that have ended, by the name of their status code."""

    @property
    def open(self) -> int:
        """How many have begun and not ended."""
        return self.begun - sum(self.codes.copy().values())


class MethodCounters:
    """What one RPC did."""

    def __init__(self, service: str, name: str, *, streaming: bool) -> None:
        self.service = service
        """Such as `semserve.v1.EmbeddingService`."""
        self.name = name
        """Such as `Embed`."""
        self.streaming = streaming
        self.requests = Outcomes()
        """Calls where it is unary, messages where it streams."""
        self.seconds = Histogram(SECONDS)
        """How long each request took."""
        self.streams = Outcomes()
        self.unread = 0
        """Unary calls that ended before their message was there."""

    def __str__(self) -> str:
        return f"{self.service}/{self.name}"


class KeyCounters:
    """What was asked with one key."""

    def __init__(self) -> None:
        self.codes: Counter[str] = Counter(OK=0)
        """Requests that have ended, by the name of their status code."""
        self.tokens = 0
        """Tokens of the texts that ran."""


class ModelCounters:
    """What one model did."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tokenize_seconds = Histogram(SECONDS)
        """One value a request."""
        self.queue_seconds = Histogram(SECONDS)
        """One value a request: from its admission until its last encoding was taken."""
        self.run_seconds = Histogram(SECONDS)
        self.batch_entries = Histogram(ENTRIES)
        self.tokens = 0
        """Tokens of the entries that ran."""
        self.padded_tokens = 0
        """The same with the padding beside them: entries times the longest, of each run."""
        self.tokenized = 0
        """Tokens that Tokenize has told."""
        self.scores = 0
        """Scores that were computed from its vectors."""
        self.score_seconds = Histogram(SECONDS)
        """One value a request: from its vectors to its scores."""
        self.failed_entries = 0
        self.dropped: Counter[str] = Counter(expired=0, cancelled=0, failed=0)
        """Entries that were admitted and never ran, by cause: `expired`, `cancelled`, `failed`."""

    def scored(self, scores: int, seconds: float) -> None:
        """Count the scores of a request, and the seconds that it waited for them."""
        self.scores += scores
        self.score_seconds.observe(seconds)

    def ran(self, lengths: Sequence[int], padded_tokens: int, seconds: float) -> None:
        """Count a run.

        Args:
            lengths: tokens of each of its entries.
            padded_tokens: entries times the longest of them.
            seconds: how long it took.
        """
        self.run_seconds.observe(seconds)
        self.batch_entries.observe(len(lengths))
        self.tokens += sum(lengths)
        self.padded_tokens += padded_tokens
