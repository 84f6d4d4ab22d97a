"""When workers wake for what waits: at once, or when the event loop brings no more."""

from __future__ import annotations

import asyncio

from batching import NEVER, encoding
from fakes import Held, Lengths
from semserve_server.scheduling.batch_delay import QUIET_ITERATIONS, BatchDelay
from semserve_server.scheduling.cost_model import CostModel

CHEAP = CostModel(fixed=0.000_01, per_token=0.0)


async def turns(count: int) -> None:
    """Let the event loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_workers_wake_once_the_loop_has_brought_nothing_for_some_turns() -> None:
    woken: list[str] = []
    delay = BatchDelay(lambda: woken.append("now"), should_delay=lambda: True)
    for _ in range(3):
        delay.add()
        await turns(QUIET_ITERATIONS - 2)
        assert [] == woken
        assert delay.is_open
    await turns(2)
    assert ["now"] == woken
    assert not delay.is_open


async def test_where_it_is_not_worthwhile_they_wake_at_the_end_of_the_turn() -> None:
    woken: list[str] = []
    delay = BatchDelay(lambda: woken.append("now"), should_delay=lambda: False)
    delay.add()
    delay.add()
    assert [] == woken
    assert not delay.is_open
    await turns(1)
    assert ["now"] == woken


async def test_what_comes_within_some_turns_is_one_cheap_run(make) -> None:
    held = Held(Lengths())
    batcher = make(held, workers=2, cost=CHEAP)

    async def ask(number: int) -> None:
        await turns(5 * (number // 4))
        await batcher.submit([encoding(number)], deadline=NEVER)

    await asyncio.gather(*map(ask, range(8)))
    assert [8] == [len(batch) for batch in held.batches]


async def test_closing_ends_the_wait_for_more(make) -> None:
    held = Held(Lengths())
    batcher = make(held, cost=CHEAP)
    results = [
        asyncio.create_task(batcher.submit([encoding(number)], deadline=NEVER))
        for number in range(4)
    ]
    await turns(1)
    batcher.close()
    held.wait_for_run()  # on the event loop's thread: no further iteration can end the delay
    assert [0, 1, 2, 3] == [int((await one).rows[0, 0]) for one in results]


async def test_workers_wake_even_where_nobody_can_tell_whether_to_wait() -> None:
    woken: list[str] = []
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    delay = BatchDelay(lambda: woken.append("now"), should_delay=lambda: bool(1 / 0))
    delay.add()
    await turns(1)
    assert ["now"] == woken
    assert 1 == len(reported)
    delay.add()
    await turns(1)
    assert ["now", "now"] == woken
