"""Without a proxy: our client spreads its calls, and watches the health of each replica."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence

import pytest
from chaos.answers import Known
from load.process import free_port
from semserve import AsyncClient

from scale.callers import PATIENCE, Callers, callers
from scale.names import names
from scale.replicas import LONG_FORM, Replica

pytestmark = [pytest.mark.xdist_group("replicas"), LONG_FORM]
AGE = ("--access-log", "--max-connection-age", "2")


def address(replicas: Sequence[Replica]) -> str:
    """Return the address of all of them, as a name with several addresses has it."""
    return "ipv4:" + ",".join(one.address for one in replicas)


@contextlib.asynccontextmanager
async def spread(target: str, texts: Known) -> AsyncIterator[Callers]:
    """Call and stream, with the client's own retries."""
    options = [("grpc.dns_min_time_between_resolutions_ms", 500)]  # 30 s by default
    async with (
        AsyncClient(target, health_checks=True, channel_options=options) as client,
        callers(client, client, texts) as all_of_them,
    ):
        yield all_of_them


async def test_a_rolling_restart_under_load_fails_no_call_of_our_client(
    three: list[Replica],
    texts: Known,
    round_: int,  # noqa: ARG001
) -> None:
    async with spread(address(three), texts) as load:
        for replica in three:
            await asyncio.to_thread(replica.restart)
            await until_answering(replica, load)


async def test_our_client_loses_and_doubles_nothing_where_a_replica_is_killed(
    three: list[Replica], texts: Known, round_: int
) -> None:
    killed = three[round_ % len(three)]
    async with spread(address(three), texts) as load:
        await asyncio.to_thread(killed.kill)
        await load.wait_for(calls=100, messages=20)
        await asyncio.to_thread(killed.start)
        await asyncio.to_thread(killed.wait_until_serving)
        await until_answering(killed, load)


async def test_our_client_finds_a_new_replica_where_the_age_of_connections_is_bounded(
    texts: Known,
) -> None:
    port = free_port()
    first, second = (Replica(port, AGE, host=host) for host in ("127.0.0.1", "127.0.0.2"))
    async with names(first.host) as dns:
        with contextlib.closing(first), contextlib.closing(second):
            await started(first)
            async with spread(f"dns://{dns.server}/replicas.test:{port}", texts) as load:
                await load.wait_for(calls=20, messages=2)
                await started(second)
                dns.addresses.append(second.host)
                await until_answering(second, load)


async def started(replica: Replica) -> None:
    """Start a replica, and wait until it serves."""
    await asyncio.to_thread(replica.start)
    await asyncio.to_thread(replica.wait_until_serving)


async def until_answering(replica: Replica, load: Callers) -> None:
    """Wait until a replica that has started again gets calls."""
    end = time.monotonic() + PATIENCE
    while not replica.answered and not load.faults:
        assert time.monotonic() < end, f"{replica.address} got no call in {PATIENCE:g} s"
        await load.wait_for(calls=1)
