"""Forms a batch entry by entry: for batches of few entries, or entries of many callers."""

from __future__ import annotations

from collections.abc import Generator
from math import inf
from typing import Generic

from semserve_server.scheduling.caller_queue import Entry, Owner
from semserve_server.scheduling.cost_model import CostModel
from semserve_server.scheduling.selection.limits import (
    HANDOVER_SECONDS,
    MAX_PADDED_FACTOR,
    MAX_REFUSED,
    MAX_TIME_FACTOR,
)


def search_entries(
    window: Generator[Entry[Owner]], cost: CostModel, max_batch_tokens: int, *, step: float
) -> GrowingBatch[Owner] | None:
    """Form a batch of the first entry, and of each other that does not lower the tokens per second.

    Entries are tried in their order, after a sort by the steps of padding between each and the
    first. Those without such a step are tried while they are popped, so that a full batch ends the
    search, and its work does not grow with the window.

    Args:
        window: the first entries, in their order. It is closed early if the batch is full.
        cost: predicts the time of a run.
        max_batch_tokens: most effective tokens of the batch.
        step: tokens of padding by which entries are sorted.

    Returns:
        The batch; None if the window is empty.
    """
    first = next(window, None)
    if first is None:
        return None
    batch = GrowingBatch(first, cost, max_batch_tokens)
    steps, length = cost.padding / step, first.length
    unlike: list[Entry[Owner]] = []
    for entry in window:
        if steps * abs(entry.length - length) >= 1:
            unlike.append(entry)
        elif not batch.add(entry) and batch.full:
            window.close()
            return batch
    unlike.sort(key=lambda entry: int(steps * abs(entry.length - length)))  # stable
    refused = 0
    for entry in unlike:
        refused = 0 if batch.add(entry) else refused + 1
        if refused == MAX_REFUSED or (refused and batch.full):
            break
    return batch


class GrowingBatch(Generic[Owner]):
    """A batch that entries join as long as that lowers neither its speed nor passes its limits."""

    __slots__ = ("_cost", "_longest", "_most", "_seconds", "_shortest", "_tokens", "entries")

    def __init__(self, first: Entry[Owner], cost: CostModel, max_batch_tokens: int) -> None:
        """Create a batch of one entry."""
        self.entries = [first]
        self._cost = cost
        self._most = max_batch_tokens
        self._tokens = self._longest = self._shortest = first.length
        self._seconds = self._predict(self._tokens, self._tokens)

    def add(self, entry: Entry[Owner]) -> bool:
        """Add an entry if the batch then computes no fewer of its own tokens per second."""
        length = entry.length
        if length < self._shortest:  # noqa: PLR1730  (a call of `min` takes longer)
            self._shortest = length
        tokens = self._tokens + length
        if tokens > self._most:  # needs no prediction
            return False
        if length == self._longest == self._shortest:  # as all others: no padding
            self.entries.append(entry)
            self._tokens = tokens
            self._seconds = self._predict(tokens, tokens)
            return True
        longest = length if length > self._longest else self._longest  # noqa: FURB136
        seconds = self._predict(tokens, longest * (len(self.entries) + 1))
        present = self._seconds
        if tokens * present < self._tokens * seconds:
            return False
        if not seconds <= MAX_TIME_FACTOR * present < inf:
            return False
        self.entries.append(entry)
        self._tokens, self._longest, self._seconds = tokens, longest, seconds
        return True

    @property
    def effective_tokens(self) -> int:
        """Cost in tokens: its tokens, and its padding at its measured cost."""
        padded_tokens = len(self.entries) * self._longest
        return round(self._cost.effective_tokens(self._tokens, padded_tokens))

    @property
    def full(self) -> bool:
        """Whether not even an entry as short as the shortest that was tried fits."""
        tokens = self._tokens + self._shortest
        padded_tokens = self._longest * (len(self.entries) + 1)
        return tokens > self._most or self._predict(tokens, padded_tokens) == inf

    def _predict(self, tokens: int, padded_tokens: int) -> float:
        """Predict how long a batch takes; infinite if the batch is too large."""
        cost = self._cost
        computed = tokens + cost.padding * (padded_tokens - tokens)
        if computed > self._most or padded_tokens > MAX_PADDED_FACTOR * self._most:
            return inf
        return HANDOVER_SECONDS + (cost.fixed + cost.per_token * computed)
