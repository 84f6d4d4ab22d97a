"""The runs of one model that go on, and whether another should begin beside them. Pure.

Each run reads all weights, so two small ones side by side take longer than one of both, and one
that has all threads is disturbed by any other. Until a good part of a batch waits, the runs that go
on are therefore let to end, and what has come meanwhile runs as one, with all threads.
"""

from __future__ import annotations

from semserve_server.scheduling.cost_model import CostModel

FULL_ENOUGH = 0.25
"""The part of a batch's budget from which what waits is worth a run beside others. Of MiniLM on two
CPUs, with 2, 4, 8 and 16 callers of one text each, the p99 is 0.37, 0.80, 0.94 and 0.99 times what
it is where every lane begins at once, and the throughput 1.05, 0.99, 0.96 and 1.00 times; with 64
it is as it was. With 0.5 in place of it, 16 callers lost a tenth of their throughput."""

CHEAP_SECONDS = 0.000_5
"""What a run may take at most that waits for others to share it. Of a BERT of two layers a run of
one pair takes half of that. Of MiniLM, whose runs take 2 ms and more, throughput was 0.98 times
what it is without waiting."""

FEW = 2
"""Requests that wait for no others: of two callers one is mostly being answered when the other
asks, and nobody else will come."""


class Dispatch:
    """What goes on, by lane. Not thread-safe: the batcher holds the lock."""

    def __init__(self, *, cost: CostModel, max_batch_tokens: int, wide: bool) -> None:
        """Make a model's runs; none goes on.

        Args:
            cost: of a run.
            max_batch_tokens: the budget of a batch.
            wide: whether a lone run has more threads than one beside others.
        """
        self._cost = cost
        self._max_batch_tokens = max_batch_tokens
        self._wide = wide
        self._ends: dict[object, float] = {}

    def begin(self, lane: object, waiting_tokens: int, now: float) -> None:
        """Note that a lane begins to run what waits, as far as a batch holds it."""
        tokens = min(waiting_tokens, self._max_batch_tokens)
        self._ends[lane] = now + self._cost.seconds(tokens)

    def end(self, lane: object) -> None:
        """Note that a lane's run has ended."""
        del self._ends[lane]

    def patience(self, waiting_tokens: int, now: float) -> float:
        """Tell how many seconds to wait for an end before a run of what waits begins; 0 for now.

        Nobody waits for longer than twice what the run itself takes, be it that the others are long
        or that they should have ended.
        """
        if not self._wide or not self._ends:
            return 0.0
        if waiting_tokens >= FULL_ENOUGH * self._max_batch_tokens:
            return 0.0
        own = self._cost.seconds(waiting_tokens)
        left = max(self._ends.values()) - now
        return own + left if -own < left <= own else 0.0

    def gathers(self, requests: int, waiting_tokens: int) -> bool:
        """Tell whether a run of what waits is so cheap that it should wait for others to share it.

        It should not where what waits fills a batch.

        Args:
            requests: those that are not answered yet, running ones included.
            waiting_tokens: of what waits to run.
        """
        if requests <= FEW or waiting_tokens >= self._max_batch_tokens:
            return False
        return self._cost.seconds(waiting_tokens) < CHEAP_SECONDS
