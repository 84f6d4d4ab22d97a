"""The storm in a short form: whatever callers do, every answer is its own request's."""

from __future__ import annotations

import asyncio

from chaos import many_messages
from chaos.answers import Answers
from chaos.client import Task, drive
from chaos.server import Server
from chaos.tally import Fate


async def test_two_thousand_requests_in_a_storm_each_meet_one_right_fate(
    chaos_server: Server, answers: Answers
) -> None:
    task = Task(chaos_server.address, answers, requests=2000, callers=24, seed=11)
    tally = await asyncio.to_thread(drive, task)
    assert 0 == tally.faults, tally
    assert tally.sent >= 2000
    assert {Fate.RIGHT, Fate.INVALID, Fate.ABANDONED} <= set(tally.fates)


async def test_a_stream_answers_all_but_its_bad_messages_and_never_resets(
    chaos_server: Server, answers: Answers
) -> None:
    tally = await many_messages.stream(chaos_server, answers, messages=1000, seed=12)
    assert {Fate.RIGHT: 990, Fate.INVALID: 10} == tally.fates
