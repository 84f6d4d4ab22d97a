"""The batcher: requests share batches, and nobody's end harms a neighbour."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from batching import NEVER, encoding, held_behind_a_run, new_admission
from fakes import Failing, Giving, Held, Lengths, Poisoned, Unreadable
from semserve_server.errors import (
    DeadlineExceeded,
    Draining,
    InferenceFailed,
    InvalidRequest,
    Overloaded,
)
from semserve_server.instrumentation.counters import ModelCounters
from semserve_server.scheduling.admission import QueueLoad
from semserve_server.scheduling.batch_queue import BatchQueue
from semserve_server.scheduling.batcher import Batcher
from semserve_server.scheduling.cost_model import CostModel
from semserve_server.scheduling.dispatch import Dispatch


async def test_two_requests_share_a_batch_and_one_cancelled_leaves_the_other_answered(make) -> None:
    held = Held(Lengths())
    batcher = make(held)
    first = await held_behind_a_run(batcher, held)
    kept = asyncio.create_task(batcher.submit([encoding(1)], deadline=NEVER))
    cancelled = asyncio.create_task(batcher.submit([encoding(2)], deadline=NEVER))
    await asyncio.sleep(0)  # both tasks run up to their wait
    held.release(1)
    await first
    await asyncio.to_thread(held.wait_for_run)  # the batch of both has begun
    cancelled.cancel()
    held.release()
    answer = await kept
    assert [[1.0, 3.0]] == answer.rows.tolist()
    assert 2 == len(held.batches[1])
    with pytest.raises(asyncio.CancelledError):
        await cancelled


async def test_what_comes_in_one_turn_of_the_loop_is_one_batch(make) -> None:
    batcher = make(held := Held(Lengths()))
    await asyncio.gather(*[batcher.submit([encoding(n)], deadline=NEVER) for n in range(4)])
    assert [4] == [len(batch) for batch in held.batches]


async def test_what_could_not_be_admitted_is_refused_before_it_is_read(make) -> None:
    batcher = make(held := Held(Lengths()))
    batcher.check_admission(QueueLoad(8, 8), seconds=NEVER)
    first = await held_behind_a_run(batcher, held)
    with pytest.raises(InvalidRequest, match="at most 8"):
        batcher.check_admission(QueueLoad(9, 9), seconds=NEVER)
    with pytest.raises(Overloaded, match="deadline"):
        batcher.check_admission(QueueLoad(1, 1), seconds=0.0)
    held.release()
    await first


async def test_a_request_cancelled_while_it_waits_never_runs(make) -> None:
    held = Held(Lengths())
    batcher = make(held)
    first = await held_behind_a_run(batcher, held)
    kept = asyncio.create_task(batcher.submit([encoding(1)], deadline=NEVER))
    cancelled = asyncio.create_task(batcher.submit([encoding(2)], deadline=NEVER))
    await asyncio.sleep(0)  # both tasks run up to their wait
    cancelled.cancel()
    await asyncio.wait([cancelled])
    held.release()
    await asyncio.gather(first, kept)
    assert [[1, 1, 1]] == [one.token_ids for one in held.batches[1]]


async def test_rows_return_in_the_order_of_the_request_whatever_the_batches_were(make) -> None:
    batcher = make(Lengths(), workers=3)
    lengths = [30, 2, 17, 5, 30, 1, 9, 2]
    answer = await batcher.submit(
        [encoding(place, length) for place, length in enumerate(lengths)], deadline=NEVER
    )
    expected = [[place, length] for place, length in enumerate(lengths)]
    assert expected == answer.rows.tolist()
    assert np.float32 == answer.rows.dtype
    assert sum(lengths) <= answer.padded_tokens


async def test_what_expired_in_the_queue_is_told_and_never_runs(make) -> None:
    now = 0.0
    held = Held(Lengths())
    batcher = make(held, clock=lambda: now)
    first = await held_behind_a_run(batcher, held)
    late = asyncio.create_task(batcher.submit([encoding(1)], deadline=5.0))
    in_time = asyncio.create_task(batcher.submit([encoding(2)], deadline=15.0))
    await asyncio.sleep(0)  # both tasks run up to their wait
    now = 10.0
    held.release()
    await first
    with pytest.raises(DeadlineExceeded):
        await late
    assert [[2.0, 3.0]] == (await in_time).rows.tolist()
    assert 2 == len(held.batches)


async def test_a_failing_run_answers_every_request_of_its_batch(make) -> None:
    held = Held(Failing())
    batcher = make(held)
    first = await held_behind_a_run(batcher, held)
    others = [asyncio.create_task(batcher.submit([encoding(n)], deadline=NEVER)) for n in range(3)]
    await asyncio.sleep(0)  # all tasks run up to their wait
    held.release()
    outcomes = await asyncio.gather(first, *others, return_exceptions=True)
    assert [InferenceFailed] * 4 == [type(outcome) for outcome in outcomes]


@pytest.mark.parametrize("rows", [
    None, 7.0, [[1.0, 2.0]], np.zeros(2, np.float32), np.zeros((3, 2), np.float32),
    np.zeros((0, 2), np.float32), np.zeros((2, 2), dtype="U3"), np.full((2, 2), None),
    np.zeros((2, 2), np.float32).view(Unreadable),
])  # fmt: skip
async def test_whatever_a_run_gives_its_callers_are_answered_and_so_are_the_next(
    make, rows: object
) -> None:
    held = Held(Lengths())
    batcher = make(held)
    first = await held_behind_a_run(batcher, held)
    others = [asyncio.create_task(batcher.submit([encoding(n)], deadline=NEVER)) for n in range(2)]
    await asyncio.sleep(0)  # both tasks run up to their wait
    held.release(1)
    await first
    await asyncio.to_thread(held.wait_for_run)  # the batch of both has begun
    held.runner = Giving(rows)
    held.release()
    outcomes = await asyncio.gather(*others, return_exceptions=True)
    assert [InferenceFailed] * 2 == [type(one) for one in outcomes]
    held.runner = Lengths()
    answer = await batcher.submit([encoding(5)], deadline=NEVER)
    assert [[5.0, 3.0]] == answer.rows.tolist()
    assert not batcher.failed


class Broken(ModelCounters):
    """Counts that cannot be kept."""

    def observe_run(self, *_: object) -> None:
        """Raise."""
        raise OverflowError("secret cause")


async def test_a_run_that_cannot_be_counted_fails_its_callers_and_leaves_none_waiting() -> None:
    queue = BatchQueue(max_batch_tokens=64, cost=CostModel())
    runs = Dispatch(cost=CostModel(), max_batch_tokens=64, exclusive=False)
    batcher = Batcher(Lengths(), queue, new_admission(), runs, counters=Broken("test"))
    try:
        for _ in range(2):
            with pytest.raises(InferenceFailed):
                await batcher.submit([encoding(1)], deadline=NEVER)
    finally:
        batcher.close()


async def test_a_poisoned_entry_fails_alone(make) -> None:
    held = Held(Poisoned(Lengths(), raises={7}, breaks={8}))
    batcher = make(held)
    first = await held_behind_a_run(batcher, held)
    requests = [
        asyncio.create_task(batcher.submit([encoding(n)], deadline=NEVER)) for n in range(1, 9)
    ]
    await asyncio.sleep(0)  # all tasks run up to their wait
    held.release()
    outcomes = await asyncio.gather(*requests, return_exceptions=True)
    await first
    assert [[[n, 3.0]] for n in range(1, 7)] == [one.rows.tolist() for one in outcomes[:6]]
    assert [InferenceFailed] * 2 == [type(one) for one in outcomes[6:]]


async def test_a_request_takes_what_there_is_only_if_it_says_so(make) -> None:
    batcher = make(Poisoned(Lengths(), raises={2}, breaks={3}))
    encodings = [encoding(n) for n in range(1, 5)]
    with pytest.raises(InferenceFailed):
        await batcher.submit(encodings, deadline=NEVER)
    answer = await batcher.submit(encodings, deadline=NEVER, partial=True)
    assert {1, 2} == answer.failed
    assert [[1, 3], [4, 3]] == answer.rows[[0, 3]].tolist()
    assert np.isnan(answer.rows[[1, 2]]).all()
    with pytest.raises(InferenceFailed):
        await batcher.submit([encoding(2)], deadline=NEVER, partial=True)


async def test_a_request_that_does_not_fit_is_refused_whole(make) -> None:
    held = Held(Lengths())
    batcher = make(held)
    first = await held_behind_a_run(batcher, held)
    waiting = asyncio.create_task(batcher.submit([encoding(1)] * 6, deadline=NEVER))
    await asyncio.sleep(0)  # the task runs up to its wait
    with pytest.raises(Overloaded):
        await batcher.submit([encoding(2)] * 3, deadline=NEVER)
    held.release()
    await asyncio.gather(first, waiting)
    assert 7 == sum(len(batch) for batch in held.batches)


async def test_a_request_that_would_miss_its_deadline_is_refused_on_admission(make) -> None:
    held = Held(Lengths())
    slow = new_admission(cost=CostModel(per_token=0.1))  # 0.3 s for each of the encodings here
    batcher = make(held, admission=slow, clock=lambda: 100.0)
    first = await held_behind_a_run(batcher, held)
    with pytest.raises(Overloaded) as refusal:
        await batcher.submit([encoding(1)], deadline=100.5)
    assert 0 < refusal.value.retry_after <= 0.5
    in_time = asyncio.create_task(batcher.submit([encoding(2)], deadline=160.0))
    held.release()
    await asyncio.gather(first, in_time)
    assert [1, 1] == [len(batch) for batch in held.batches]


async def test_draining_answers_what_was_admitted_and_refuses_the_rest(make) -> None:
    held = Held(Lengths())
    batcher = make(held)
    first = await held_behind_a_run(batcher, held)
    waiting = asyncio.create_task(batcher.submit([encoding(1)], deadline=NEVER))
    await asyncio.sleep(0)  # the task runs up to its wait
    batcher.close()
    with pytest.raises(Draining):
        await batcher.submit([encoding(2)], deadline=NEVER)
    held.release()
    await first
    assert [[1.0, 3.0]] == (await waiting).rows.tolist()


async def test_a_batch_worker_that_dies_fails_its_requests() -> None:
    queue = BatchQueue(max_batch_tokens=64, cost=CostModel())
    queue.take = lambda _now: 1 / 0  # type: ignore[assignment,method-assign]  # a bug, made to order
    runs = Dispatch(cost=CostModel(), max_batch_tokens=64, exclusive=False)
    batcher = Batcher(Lengths(), queue, new_admission(), runs, counters=ModelCounters("test"))
    for _ in range(2):
        with pytest.raises(InferenceFailed):
            await batcher.submit([encoding(1)], deadline=NEVER)
    assert batcher.failed


async def test_a_caller_that_left_takes_no_room(make) -> None:
    held = Held(Lengths())
    batcher = make(held)
    first = await held_behind_a_run(batcher, held)
    left = asyncio.create_task(batcher.submit([encoding(1)] * 8, deadline=NEVER))
    await asyncio.sleep(0)  # the task runs up to its wait
    left.cancel()
    await asyncio.wait([left])
    next_ = asyncio.create_task(batcher.submit([encoding(2)] * 8, deadline=NEVER))
    held.release()
    await asyncio.gather(first, next_)


async def test_the_batcher_tells_its_state(make) -> None:
    batcher = make(Lengths())
    expected = "<Batcher 1 workers, 0 requests, <BatchQueue 0 entries, batches of 64 tokens>>"
    assert expected == repr(batcher)
