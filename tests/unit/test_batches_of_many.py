"""A batch that is formed by lengths, beside the one that a search entry by entry forms."""

from __future__ import annotations

from collections import Counter
from random import Random
from statistics import mean

from semserve_server.runtime.encoding import Encoding
from semserve_server.scheduling.batch_queue import BatchQueue, DequeuedBatch, Entry
from semserve_server.scheduling.cost_model import CostModel
from semserve_server.scheduling.selection.limits import HANDOVER_SECONDS, MAX_PADDED_FACTOR

BUDGET = 2_000
"""Tokens of a batch; the entries are short beside it, so that the last one hardly counts."""


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


def random_cost(random: Random) -> CostModel:
    return CostModel(
        fixed=random.choice([0.0001, 0.001, 0.01]),
        per_token=random.choice([1e-7, 1e-6, 1e-5, 1e-4]),
        padding=random.choice([0.0, 0.05, 0.3, 1.0]),
    )


def random_lengths(random: Random) -> list[int]:
    """Return lengths of entries, of one of three distributions."""
    most = random.randint(1, 40)
    spread, rate = most / 8, 4 / most
    kind = random.choice(["even", "normal", "exponential"])
    drawn = {
        "even": lambda: random.uniform(1, most),
        "normal": lambda: random.gauss(most / 2, spread),
        "exponential": lambda: random.expovariate(rate),
    }
    return [min(max(round(drawn[kind]()), 1), most) for _ in range(random.randint(150, 300))]


def test_batches_formed_by_lengths_compute_as_many_tokens_per_second() -> None:
    """On average no fewer than batches that are formed entry by entry, and never many fewer."""
    random = Random(1)  # noqa: S311
    ratios = []
    for _ in range(300):
        lengths, cost = random_lengths(random), random_cost(random)
        by_lengths = take(lengths, cost, by_lengths=True)
        by_entries = take(lengths, cost, by_lengths=False)
        ratios.append(speed(by_lengths, cost) / speed(by_entries, cost))
        assert BUDGET >= by_lengths.effective_tokens
        assert MAX_PADDED_FACTOR * BUDGET >= by_lengths.padded_tokens
        indices = [one.index for one in by_lengths.batch]
        assert 0 in indices
        assert len(set(indices)) == len(indices)
    assert mean(ratios) >= 1.0
    assert min(ratios) >= 0.9


def test_a_question_does_not_wait_for_the_run_of_many_pages() -> None:
    batch = take([2] + [90] * 200, CostModel(padding=0.0), by_lengths=True).batch
    assert [2] == [one.length for one in batch]


def test_a_page_does_not_join_many_short_texts() -> None:
    """Padding costs nothing, but the padded tokens of a batch are limited."""
    lengths = [10] * 150 + [900] + [10] * 150
    batch = take(lengths, CostModel(padding=0.0), by_lengths=True).batch
    assert [10] * (BUDGET // 10) == [one.length for one in batch]


def test_of_a_batch_of_several_lengths_each_caller_receives_as_many_tokens() -> None:
    lengths = [9, 10, 11, 12, 13] * 60  # caller 0 has the shortest texts, caller 4 the longest
    received: Counter[str] = Counter()
    for one in take(lengths, CostModel(padding=0.0), by_lengths=True).batch:
        received[one.caller] += one.length
    assert max(received.values()) - min(received.values()) <= 13
