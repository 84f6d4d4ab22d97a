"""Forms a batch length by length: for batches of many entries of few callers.

The policy is that of `entry_search`, but it decides for all entries of one length at once. So its
work depends on the number of different lengths, and not on the number of entries.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semserve_server.scheduling.cost_model import CostModel
from semserve_server.scheduling.selection.limits import (
    HANDOVER_SECONDS,
    MAX_PADDED_FACTOR,
    MAX_TIME_FACTOR,
)
from semserve_server.scheduling.selection.window import IntArray

ROUNDING = 1 - 1e-9
"""A batch that is slower by less than this factor is as fast: the difference is of rounding."""


def search_lengths(
    lengths: NDArray[np.int32], cost: CostModel, max_batch_tokens: int
) -> tuple[IntArray, int]:
    """Form a batch of the first entry, and of all with lengths that do not lower its speed.

    Lengths are tried in the order of the cost of the padding between each and the first entry. Those
    that join form the batch, as many as fit: first those with less padding, then in their order.

    Args:
        lengths: tokens of each entry of the window, in the order of the turns; int32 [entries].
        cost: predicts the time of a run.
        max_batch_tokens: most effective tokens of the batch.

    Returns:
        Indices of the entries of the batch, and the effective tokens of the batch.
    """
    first, padding = int(lengths[0]), cost.padding
    counts = np.bincount(lengths)
    different = np.flatnonzero(counts)
    mix = _LengthMix(first, cost, max_batch_tokens)
    tried = zip(different.tolist(), counts[different].tolist(), strict=True)
    joined: dict[int, int] = {}
    last = 0
    for length, count in sorted(tried, key=lambda one: (abs(one[0] - first), one[0])):
        extra = int(padding * abs(length - first))
        if extra > last and mix.full:
            break
        if mix.add(length, count - (length == first)):
            joined[length] = last = extra
    chosen = _in_order(lengths, joined, several=len(joined) < len(different) or last > 0)
    sizes = lengths[chosen]
    computed = np.cumsum(sizes * (1 - padding) + padding * mix.longest)
    size = int(np.searchsorted(computed, max_batch_tokens, "right"))
    size = max(1, min(size, MAX_PADDED_FACTOR * max_batch_tokens // max(mix.longest, 1)))
    sizes = sizes[:size]
    return chosen[:size], round(cost.effective_tokens(int(sizes.sum()), size * int(sizes.max())))


def _in_order(lengths: NDArray[np.int32], costs: dict[int, int], *, several: bool) -> IntArray:
    """Return the indices of the entries with a cost, by their cost and in their order.

    Args:
        lengths: tokens of each entry; int32 [entries].
        costs: by length.
        several: whether there is more than one cost, or a length without one.
    """
    if not several:
        return np.arange(len(lengths))
    table = np.full(int(lengths.max()) + 1, -1)
    table[[*costs]] = [*costs.values()]
    of_entries = table[lengths]
    chosen = np.flatnonzero(of_entries >= 0)
    return chosen[np.argsort(of_entries[chosen], kind="stable")]


class _LengthMix:
    """Lengths that share a batch. Its entries may be more than a batch holds: then a part runs."""

    def __init__(self, first: int, cost: CostModel, max_batch_tokens: int) -> None:
        """Create a mix of one entry."""
        self._entries = 1
        self._tokens = self.longest = first
        self._cost = cost
        self._most = max_batch_tokens
        self._seconds, self._share = self._predict(1, first, first)

    @property
    def full(self) -> bool:
        """Whether the entries fill a batch."""
        return self._share < 1

    def add(self, length: int, count: int) -> bool:
        """Add entries of a length if a batch then computes no fewer of its own tokens per second.

        An entry that would make the run much longer does not join either.
        """
        cost, share = self._cost, self._share
        longest = max(self.longest, length)
        entries, tokens = self._entries + count, self._tokens + count * length
        seconds, new_share = self._predict(entries, tokens, longest)
        if new_share * tokens * self._seconds < ROUNDING * share * self._tokens * seconds:
            return False
        one_more = share * (longest - self.longest) * self._entries + longest - length  # padding
        extra_seconds = cost.per_token * (length + cost.padding * one_more)
        if extra_seconds > (MAX_TIME_FACTOR - 1) * self._seconds:
            return False
        self._entries, self._tokens, self.longest = entries, tokens, longest
        self._seconds, self._share = seconds, new_share
        return True

    def _predict(self, entries: int, tokens: int, longest: int) -> tuple[float, float]:
        """Predict the seconds of a batch, and which share of the entries it holds."""
        cost, padded_tokens = self._cost, entries * longest
        computed = cost.effective_tokens(tokens, padded_tokens)
        share = min(
            1.0,
            self._most / max(computed, 1),
            MAX_PADDED_FACTOR * self._most / max(padded_tokens, 1),
        )
        return HANDOVER_SECONDS + cost.fixed + cost.per_token * computed * share, share
