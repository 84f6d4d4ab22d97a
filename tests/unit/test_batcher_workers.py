"""Runs side by side, and alone: who begins when, and with how many threads."""

from __future__ import annotations

import asyncio

from batching import NEVER, encoding, held_behind_a_run
from fakes import Held, Lengths
from semserve_server.scheduling.concurrency_limit import ConcurrencyLimit
from semserve_server.scheduling.cost_model import CostModel


async def test_a_flooded_model_cannot_keep_another_waiting(make) -> None:
    """The one holds every run that there is, and the other's begins all the same."""
    shares = ConcurrencyLimit(2)
    flooded, other = Held(Lengths()), Held(Lengths())
    flooded.hold()
    other.hold()
    flood = make(flooded, workers=2, concurrency_limit=shares)
    beside = make(other, workers=2, concurrency_limit=shares)
    flooding = [
        asyncio.create_task(flood.submit([encoding(n, 60)], deadline=NEVER)) for n in range(6)
    ]
    for _ in range(2):
        await asyncio.to_thread(flooded.wait_for_run)
    waiting = [
        asyncio.create_task(beside.submit([encoding(n, 60)], deadline=NEVER)) for n in range(2)
    ]
    await asyncio.to_thread(other.wait_for_run)
    assert [False] == other.exclusive
    other.release()
    await asyncio.gather(*waiting)
    assert 2 == len(flooded.batches)
    flooded.release()
    await asyncio.gather(*flooding)
    assert 6 == len(flooded.batches)


async def test_a_run_that_goes_on_shows(make) -> None:
    held = Held(Lengths())
    batcher = make(held, clock=lambda: 100.0)
    assert {} == batcher.runs()
    first = await held_behind_a_run(batcher, held)
    assert {"test-worker-0": 100.0} == batcher.runs()
    held.release()
    await first
    await batcher.submit([encoding(1)], deadline=NEVER)  # the worker has gone on to the next run
    batcher.close()
    await asyncio.to_thread(batcher.workers[0].thread.join, 30)
    assert {} == batcher.runs()


async def test_only_a_run_without_company_has_all_threads(make) -> None:
    """The first run finds nobody; while it lasts, and while others wait, none is alone."""
    held = Held(Lengths())
    batcher = make(held, workers=2, cost=CostModel())
    held.hold()
    first = asyncio.create_task(batcher.submit([encoding(1)], deadline=NEVER))
    await asyncio.to_thread(held.wait_for_run)
    second = asyncio.create_task(batcher.submit([encoding(2, 20)], deadline=NEVER))
    await asyncio.to_thread(held.wait_for_run)
    third = asyncio.create_task(batcher.submit([encoding(3, 60), encoding(4)], deadline=NEVER))
    await asyncio.sleep(0)  # the task runs up to its wait
    held.release(1)
    await asyncio.to_thread(held.wait_for_run)  # of the third, while one of the others goes on
    held.release()
    await asyncio.gather(first, second, third)
    await batcher.submit([encoding(5)], deadline=NEVER)
    assert [True, False] == held.exclusive[:2]
    assert not held.exclusive[2]
    assert held.exclusive[-1]


async def test_no_run_is_exclusive_where_more_threads_do_not_exist(make) -> None:
    """A run that is taken for exclusive teaches admission nothing, so on a GPU none may be."""
    held = Held(Lengths())
    batcher = make(held, workers=2)
    await batcher.submit([encoding(1)], deadline=NEVER)
    assert [False] == held.exclusive


async def test_little_that_comes_during_a_run_waits_for_its_end_and_is_one_batch(make) -> None:
    held = Held(Lengths())
    batcher = make(held, workers=2, cost=CostModel(fixed=1000.0))
    first = await held_behind_a_run(batcher, held)
    others = []
    for number in range(3):
        others.append(asyncio.create_task(batcher.submit([encoding(number)], deadline=NEVER)))
        await asyncio.sleep(0)  # each in a turn of its own, and so with a waking of its own
    held.release()
    await asyncio.gather(first, *others)
    assert [1, 3] == [len(batch) for batch in held.batches]
    assert [True, True] == held.exclusive


async def test_much_that_comes_during_a_run_runs_beside_it(make) -> None:
    held = Held(Lengths())
    batcher = make(held, workers=2, cost=CostModel(fixed=1000.0))
    first = await held_behind_a_run(batcher, held)
    second = asyncio.create_task(batcher.submit([encoding(1, 16)], deadline=NEVER))
    await asyncio.to_thread(held.wait_for_run)
    held.release()
    await asyncio.gather(first, second)
    assert [True, False] == held.exclusive


async def test_nobody_waits_for_a_run_that_should_have_ended(make) -> None:
    held, now = Held(Lengths()), [0.0]
    batcher = make(held, workers=2, cost=CostModel(fixed=1.0), clock=lambda: now[0])
    first = await held_behind_a_run(batcher, held)
    now[0] = 3.0
    second = asyncio.create_task(batcher.submit([encoding(1)], deadline=NEVER))
    await asyncio.to_thread(held.wait_for_run)
    held.release()
    await asyncio.gather(first, second)
