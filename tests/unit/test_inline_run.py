"""Which requests run on the event loop's thread."""

from __future__ import annotations

import asyncio
import itertools
import threading

import pytest
from batching import NEVER, encoding, held_behind_a_run
from fakes import Failing, Held, Lengths, Poisoned
from semserve_server.errors import DeadlineExceeded, InferenceFailed
from semserve_server.scheduling.batcher import Batcher
from semserve_server.scheduling.concurrency_limit import ConcurrencyLimit
from semserve_server.scheduling.cost_model import CostModel
from semserve_server.scheduling.dispatch import MAX_INLINE_SECONDS, MEASURED_RUNS
from semserve_server.scheduling.request import Inference

COST = CostModel(fixed=0.001, per_token=0.0001)
LONG = round((MAX_INLINE_SECONDS - COST.fixed) / COST.per_token) + 1
WORKER = "test-worker-0"


def at_once() -> float:
    """A clock that every run takes no time by, however busy the machine."""
    return 0.0


async def ask(batcher: Batcher, first: int = 7, tokens: int = 3) -> Inference:
    """Submit one encoding as the only call."""
    return await batcher.submit([encoding(first, tokens)], deadline=NEVER, alone=True)


async def measured(batcher: Batcher) -> None:
    """Run as many short requests as it takes before one uses the event loop's thread."""
    for _ in range(MEASURED_RUNS):
        await ask(batcher)


async def test_a_short_request_of_a_lone_caller_runs_on_the_loops_thread(make) -> None:
    held = Held(Lengths())
    batcher = make(held, cost=COST, clock=at_once)
    await measured(batcher)
    answer = await ask(batcher, first=5, tokens=4)
    assert [[5, 4]] == answer.rows.tolist()
    assert (4, 4) == (answer.tokens, answer.padded_tokens)
    assert [WORKER] * MEASURED_RUNS + [threading.current_thread().name] == held.threads
    assert held.exclusive[-1]


async def test_until_runs_were_measured_a_worker_runs_them(make) -> None:
    """So a model that hangs at its first texts does not block the event loop."""
    held = Held(Lengths())
    batcher = make(held, cost=COST, clock=at_once)
    await measured(batcher)
    assert {WORKER} == set(held.threads)


@pytest.mark.parametrize(
    ("tokens", "entries", "alone"),
    [(3, 1, False), (LONG, 1, True), (3, 2, True)],
    ids=["other calls are in progress", "the run would be long", "the request has two texts"],
)
async def test_other_requests_run_on_a_worker(
    make, tokens: int, entries: int, *, alone: bool
) -> None:
    held = Held(Lengths())
    batcher = make(held, cost=COST, clock=at_once)
    await measured(batcher)
    encodings = [encoding(1, tokens)] * entries
    await batcher.submit(encodings, deadline=NEVER, alone=alone)
    assert WORKER == held.threads[-1]


async def test_beside_a_run_of_the_same_model_a_request_waits_for_a_worker(make) -> None:
    held = Held(Lengths())
    batcher = make(held, cost=COST, clock=at_once)
    await measured(batcher)
    first = await held_behind_a_run(batcher, held)
    second = asyncio.create_task(ask(batcher))
    await asyncio.sleep(0)
    held.release()
    await asyncio.gather(first, second)
    assert {WORKER} == set(held.threads)


async def test_beside_a_run_of_another_model_a_request_runs_on_a_worker(make) -> None:
    limit = ConcurrencyLimit(2)
    held, other = Held(Lengths()), Held(Lengths())
    batcher = make(held, cost=COST, clock=at_once, concurrency_limit=limit)
    busy = make(other, concurrency_limit=limit)
    await measured(batcher)
    first = await held_behind_a_run(busy, other)
    await ask(batcher)
    other.release()
    await first
    assert {WORKER} == set(held.threads)


async def test_after_a_slow_run_the_next_ones_use_a_worker_again(make) -> None:
    """A machine that became busy must not hold the event loop a second time."""
    seconds = itertools.accumulate(itertools.repeat(2 * MAX_INLINE_SECONDS))
    held = Held(Lengths())
    now = [0.0]
    batcher = make(held, cost=COST, clock=lambda: now[0])
    await measured(batcher)

    class Slow(Lengths):
        def run(self, encodings, *, exclusive=False):
            now[0] = next(seconds)
            return super().run(encodings, exclusive=exclusive)

    held.runner = Slow()
    await ask(batcher)
    held.runner = Lengths()
    await ask(batcher)
    assert [threading.current_thread().name, WORKER] == held.threads[-2:]


async def test_a_run_on_the_loops_thread_that_fails_fails_its_request_alone(make) -> None:
    held = Held(Poisoned(Lengths(), raises=[13]))
    batcher = make(held, cost=COST, clock=at_once)
    await measured(batcher)
    with pytest.raises(InferenceFailed):
        await ask(batcher, first=13)
    answer = await ask(batcher, first=6)
    assert [[6, 3]] == answer.rows.tolist()
    assert {threading.current_thread().name} == set(held.threads[-2:])


async def test_a_failed_run_on_the_loops_thread_ends(make) -> None:
    """A failed run that still counts as active would keep every other model from running inline."""
    limit = ConcurrencyLimit(1)
    held = Held(Lengths())
    batcher = make(held, cost=COST, clock=at_once, concurrency_limit=limit)
    await measured(batcher)
    held.runner = Failing()
    with pytest.raises(InferenceFailed):
        await ask(batcher)
    assert limit.share().begin_alone()


async def test_on_a_gpu_no_run_uses_the_loops_thread(make) -> None:
    held = Held(Lengths())
    batcher = make(held, cost=COST, clock=at_once, background=False)
    await measured(batcher)
    await ask(batcher)
    assert {WORKER} == set(held.threads)


async def test_a_request_whose_deadline_has_passed_does_not_run(make) -> None:
    held = Held(Lengths())
    batcher = make(held, cost=COST, clock=lambda: 10.0)
    await measured(batcher)
    with pytest.raises(DeadlineExceeded):
        await batcher.submit([encoding(1)], deadline=9.0, alone=True)
    assert MEASURED_RUNS == len(held.batches)
