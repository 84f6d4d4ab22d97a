"""Forms a batch length by length: for batches of many entries of few callers.

The policy is that of `entry_search`, but it decides for all entries of one length at once. So its
work depends on the number of different lengths, and not on the number of entries.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from semserve_server.scheduling.cost_model import CostModel
from semserve_server.scheduling.selection.limits import (
    HANDOVER_SECONDS,
    MAX_PADDED_FACTOR,
    MAX_REFUSED,
    MAX_TIME_FACTOR,
)
from semserve_server.scheduling.selection.window import IntArray

ROUNDING = 1 - 1e-9
"""A batch that is slower by less than this factor is as fast: the difference is of rounding."""


def search_lengths(
    lengths: NDArray[np.int32], cost: CostModel, max_batch_tokens: int, *, step: float
) -> tuple[IntArray, int]:
    """Form a batch of the first entry, and of the entries whose lengths do not lower its speed.

    Entries with less padding come first, and of equal ones those that have their turn first. The
    batch ends where the next does not fit.

    Args:
        lengths: tokens of each entry of the window, in the order of the turns; int32 [entries].
        cost: predicts the time of a run.
        max_batch_tokens: most effective tokens of the batch.
        step: tokens of padding by which entries are sorted.

    Returns:
        Indices of the entries of the batch, and its effective tokens.
    """
    counts = np.bincount(lengths)
    present = counts.nonzero()[0]
    pairs = zip(present.tolist(), counts[present].tolist(), strict=True)
    extra = _join_lengths(int(lengths[0]), pairs, cost, max_batch_tokens, step)
    if len(extra) == len(present) and not any(extra.values()):
        chosen = np.arange(len(lengths))
    else:
        ranks = np.zeros(len(counts), np.int32)  # 0 for a length that does not join
        for length, padding in extra.items():
            ranks[length] = 1 + padding
        of_entries = ranks[lengths]
        chosen = of_entries.nonzero()[0]
        if any(extra.values()):
            chosen = chosen[of_entries[chosen].argsort(kind="stable")]
        lengths = lengths[chosen]
    tokens = lengths.cumsum()
    padded_tokens = np.maximum.accumulate(lengths) * np.arange(1, len(lengths) + 1)
    computed = cost.padding * (padded_tokens - tokens) + tokens
    fits = computed.searchsorted(max_batch_tokens, "right")
    fits_padded = padded_tokens.searchsorted(MAX_PADDED_FACTOR * max_batch_tokens, "right")
    size = max(1, int(min(fits, fits_padded)))
    return chosen[:size], round(float(computed[size - 1]))


def _join_lengths(
    first: int,
    counts: Iterable[tuple[int, int]],
    cost: CostModel,
    max_batch_tokens: int,
    step: float,
) -> dict[int, int]:
    """Choose the lengths of a batch, those with the least padding beside the first entry first.

    The entries of a length join if a batch then computes no fewer of its own tokens per second, and
    if one of them does not make the run much longer. Entries may join that do not all fit into one
    batch: the comparison is then between batches of a part of them.

    Args:
        first: tokens of the first entry.
        counts: each length and its number of entries, the first entry included.
        cost: predicts the time of a run.
        max_batch_tokens: most effective tokens of a batch.
        step: tokens of padding.

    Returns:
        The lengths that join, each with the steps of padding between it and the first.
    """
    fixed, per_token, padding = HANDOVER_SECONDS + cost.fixed, cost.per_token, cost.padding
    most_padded_tokens = MAX_PADDED_FACTOR * max_batch_tokens

    def predict(entries: int, tokens: int, longest: int) -> tuple[float, float]:
        """Return the share of the entries that a batch holds, and the seconds of its run."""
        padded_tokens = entries * longest
        computed = tokens + padding * (padded_tokens - tokens)
        share = min(1.0, max_batch_tokens / computed, most_padded_tokens / padded_tokens)
        return share, fixed + per_token * computed * share

    (_, entries), *others = sorted(counts, key=lambda one: (abs(one[0] - first), one[0]))
    tokens, longest = entries * first, first
    share, seconds = predict(entries, tokens, longest)
    joined, last, refused, too_short = {first: 0}, 0, 0, 0
    for length, count in others:
        if length <= too_short:
            continue  # it would have more padding than that length
        extra = int(padding / step * abs(length - first))
        full = share < 1 and extra > last
        if full or refused == MAX_REFUSED:
            break
        refused += 1
        padded_length = max(longest, length)
        # One entry costs its tokens, its padding, and that of the others if it is the longest.
        added = length + padding * (padded_length - length)
        added += padding * share * entries * (padded_length - longest)
        if per_token * added > (MAX_TIME_FACTOR - 1) * seconds:
            continue
        new = entries + count, tokens + count * length, padded_length
        new_share, new_seconds = predict(*new)
        if new_share * new[1] * seconds >= ROUNDING * share * tokens * new_seconds:
            entries, tokens, longest = new
            share, seconds = new_share, new_seconds
            joined[length] = last = extra
            refused = 0
        elif length < first:
            too_short = length
    return joined
