"""Strangers do what they like with their own connections; on the others everyone is served."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from chaos.answers import Answers
from chaos.attacks import ATTACKS, Attack, attack, crowd
from chaos.bystanders import bystanders
from chaos.server import Server

FORCE = 20
"""How hard they try: some hundreds of calls, or some thousands of frames."""


@pytest.mark.parametrize("what", ATTACKS, ids=lambda what: what.__name__)
async def test_others_are_served_beside_who_breaks_the_protocol(
    chaos_server: Server, answers: Answers, what: Attack
) -> None:
    async with bystanders(chaos_server, answers) as others:
        await others.wait_for(5)
        async with contextlib.AsyncExitStack() as stack:
            for force in (FORCE, FORCE + 1, FORCE + 2):
                connection = await asyncio.to_thread(attack, chaos_server.address, what, force)
                if connection:
                    stack.enter_context(connection)
            await others.wait_for(20)
    assert 0 == others.tally.faults, others.tally
    assert chaos_server.lives


async def test_others_are_served_beside_a_thousand_who_say_nothing(
    chaos_server: Server, answers: Answers
) -> None:
    with await asyncio.to_thread(crowd, chaos_server.address, 1000):
        async with bystanders(chaos_server, answers) as others:
            await others.wait_for(30)
    assert 0 == others.tally.faults, others.tally
