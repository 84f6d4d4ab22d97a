"""Without a proxy: our client spreads its calls, and watches the health of each replica."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import pytest
from chaos.answers import Known
from semserve import AsyncClient

from scale.callers import Callers, callers
from scale.replicas import LONG_FORM, Replica

pytestmark = [pytest.mark.xdist_group("replicas"), LONG_FORM]


def address(replicas: Sequence[Replica]) -> str:
    """Return the address of all of them, as a name with several addresses has it."""
    return "ipv4:" + ",".join(one.address for one in replicas)


@contextlib.asynccontextmanager
async def spread(replicas: Sequence[Replica], texts: Known) -> AsyncIterator[Callers]:
    """Call and stream, with the client's own retries."""
    async with (
        AsyncClient(address(replicas), health_checks=True) as client,
        callers(client, client, texts) as all_of_them,
    ):
        yield all_of_them


async def test_a_rolling_restart_under_load_fails_no_call_of_our_client(
    three: list[Replica],
    texts: Known,
    round_: int,  # noqa: ARG001
) -> None:
    async with spread(three, texts) as load:
        for replica in three:
            await asyncio.to_thread(replica.restart)
            await until_answering(replica, load)


async def test_our_client_loses_and_doubles_nothing_where_a_replica_is_killed(
    three: list[Replica], texts: Known, round_: int
) -> None:
    killed = three[round_ % len(three)]
    async with spread(three, texts) as load:
        await asyncio.to_thread(killed.kill)
        await load.wait_for(calls=100, messages=20)
        await asyncio.to_thread(killed.start)
        await asyncio.to_thread(killed.wait_until_serving)
        await until_answering(killed, load)


async def until_answering(replica: Replica, load: Callers) -> None:
    """Wait until a replica that has started again gets calls."""
    async with asyncio.timeout(60):
        while not replica.answered and not load.faults:
            await load.wait_for(calls=1)
