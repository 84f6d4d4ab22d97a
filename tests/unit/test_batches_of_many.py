"""A batch that is formed by lengths, beside the one that a search entry by entry forms."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from semserve_server.runtime.encoding import Encoding
from semserve_server.scheduling.batch_queue import BatchQueue, DequeuedBatch, Entry
from semserve_server.scheduling.cost_model import CostModel
from semserve_server.scheduling.selection.limits import HANDOVER_SECONDS, MAX_PADDED_FACTOR

BUDGET = 2_000
"""Tokens of a batch; the entries are short beside it, so that the last one hardly counts."""

costs = st.builds(
    CostModel,
    fixed=st.sampled_from([0.0001, 0.001, 0.01]),
    per_token=st.sampled_from([1e-7, 1e-6, 1e-5, 1e-4]),
    padding=st.sampled_from([0.0, 0.05, 0.3, 1.0]),
)


def take(lengths: list[int], cost: CostModel, *, by_lengths: bool) -> DequeuedBatch[None]:
    queue: BatchQueue[None] = BatchQueue(
        max_batch_tokens=BUDGET, cost=cost, min_many_entries=1 if by_lengths else 10**9
    )
    encoding = Encoding([1], [0])
    queue.put([Entry(encoding, s, 1.0, None, n, f"{n % 5}") for n, s in enumerate(lengths)])
    return queue.take(0.0)


def speed(taken: DequeuedBatch[None], cost: CostModel) -> float:
    """Return the tokens of the texts that the batch computes in a second."""
    seconds = HANDOVER_SECONDS + cost.seconds(taken.effective_tokens)
    return sum(one.length for one in taken.batch) / seconds


@settings(deadline=None, max_examples=300)
@given(
    st.integers(1, 40).flatmap(
        lambda most: st.lists(st.integers(1, most), min_size=150, max_size=300)
    ),
    costs,
)
def test_batches_formed_by_lengths_compute_as_many_tokens_per_second(
    lengths: list[int], cost: CostModel
) -> None:
    by_lengths = take(lengths, cost, by_lengths=True)
    by_entries = take(lengths, cost, by_lengths=False)
    assert speed(by_lengths, cost) >= 0.99 * speed(by_entries, cost)
    assert BUDGET >= by_lengths.effective_tokens
    assert MAX_PADDED_FACTOR * BUDGET >= by_lengths.padded_tokens
    assert 0 in {one.index for one in by_lengths.batch}
    assert {1} == set(Counter(one.index for one in by_lengths.batch).values())
