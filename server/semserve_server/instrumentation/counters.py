"""Counters and histograms as plain numbers, which cost a request almost nothing.

Only the event loop changes them. `metrics` reads them on another thread at each scrape.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

SECONDS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
"""Upper bounds of the buckets of duration histograms, in seconds: a single short text takes some
milliseconds, a request at its deadline takes seconds."""
ENTRIES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
"""Upper bounds of the buckets of the batch size histogram."""


LATE_SHARE = 0.1
"""Last part of a deadline in which a cancellation counts as DEADLINE_EXCEEDED. A client that
cancels within the last 10 % does so because of its deadline: its timer started before the
request reached the server."""


def cancelled_at_deadline(*, elapsed: float, remaining: float) -> bool:
    """Return whether a cancellation was caused by the deadline. Both arguments are seconds."""
    return remaining <= LATE_SHARE * (elapsed + remaining) < float("inf")


class Histogram:
    """Counts of values by bucket, and the sum of the values."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """Values in each bucket; the last bucket has the values above all bounds."""
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class CallCounts:
    """How many calls have started, and how they ended."""

    def __init__(self) -> None:
        self.begun = 0
        self.codes: Counter[str] = Counter(OK=0)
        """Ended calls, by the name of their status code."""

    @property
    def open(self) -> int:
        """Number of calls that have started and not ended."""
        return self.begun - sum(self.codes.copy().values())


class MethodCounters:
    """Counters of one RPC."""

    def __init__(self, service: str, name: str, *, streaming: bool) -> None:
        self.service = service
        """Full name of the service, such as `semserve.v1.EmbeddingService`."""
        self.name = name
        """Name of the method, such as `Embed`."""
        self.streaming = streaming
        self.requests = CallCounts()
        """Calls of a unary RPC, or messages of a streaming RPC."""
        self.seconds = Histogram(SECONDS)
        """Duration of each request."""
        self.streams = CallCounts()
        self.unread = 0
        """Unary calls that ended before their message was received."""

    def __str__(self) -> str:
        return f"{self.service}/{self.name}"


class KeyCounters:
    """Usage of one API key."""

    def __init__(self) -> None:
        self.codes: Counter[str] = Counter(OK=0)
        """Ended requests, by the name of their status code."""
        self.tokens = 0
        """Tokens of the texts that ran."""


class ModelCounters:
    """Counters of one model."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tokenize_seconds = Histogram(SECONDS)
        """One value for each request."""
        self.queue_seconds = Histogram(SECONDS)
        """One value for each request: from admission until its last encoding left the queue."""
        self.run_seconds = Histogram(SECONDS)
        self.batch_entries = Histogram(ENTRIES)
        self.tokens = 0
        """Tokens of the entries that ran."""
        self.padded_tokens = 0
        """Tokens of the entries that ran, with padding: entries times the longest one, of each
        run."""
        self.tokenized = 0
        """Tokens that Tokenize has returned."""
        self.scores = 0
        """Scores that were computed from the model's vectors."""
        self.score_seconds = Histogram(SECONDS)
        """One value for each request: from its vectors to its scores."""
        self.failed_entries = 0
        self.worker_idle_seconds = 0.0
        """Time in which a batch worker was free and entries waited, of all workers."""
        self.dropped: Counter[str] = Counter(expired=0, cancelled=0, failed=0)
        """Entries that were admitted and did not run, by cause: `expired`, `cancelled`,
        `failed`."""

    def observe_scores(self, scores: int, seconds: float) -> None:
        """Count the scores of a request, and the seconds that it waited for them."""
        self.scores += scores
        self.score_seconds.observe(seconds)

    def observe_run(self, lengths: Sequence[int], padded_tokens: int, seconds: float) -> None:
        """Count a run.

        Args:
            lengths: tokens of each entry.
            padded_tokens: number of entries times the longest of them.
            seconds: time of the run.
        """
        self.run_seconds.observe(seconds)
        self.batch_entries.observe(len(lengths))
        self.tokens += sum(lengths)
        self.padded_tokens += padded_tokens
