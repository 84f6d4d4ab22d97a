"""Behind Envoy, with the configuration that users get, callers see no replica end or hang."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator

import pytest
from chaos.answers import Known
from semserve import AsyncClient

from scale.callers import ONCE, Callers, callers
from scale.envoy import Envoy, Host
from scale.replicas import LONG_FORM, ROUNDS, Replica

pytestmark = pytest.mark.xdist_group("replicas")


@contextlib.asynccontextmanager
async def through(proxy: Envoy, texts: Known) -> AsyncIterator[Callers]:
    """Call and stream through Envoy. The callers send each request once."""
    async with (
        AsyncClient(proxy.address, retry=ONCE) as calling,
        AsyncClient(proxy.address) as streaming,
        callers(calling, streaming, texts) as all_of_them,
    ):
        yield all_of_them


async def healthy(proxy: Envoy, *replicas: Replica) -> None:
    """Wait until Envoy sends calls to these replicas."""

    def are(hosts: dict[int, Host]) -> bool:
        return all(hosts[one.port].healthy for one in replicas)

    await asyncio.to_thread(proxy.wait_for, are, "healthy")


async def test_a_rolling_restart_under_load_fails_no_call(
    proxy: Envoy,
    three: list[Replica],
    texts: Known,
    round_: int,  # noqa: ARG001
) -> None:
    async with through(proxy, texts) as load:
        for replica in three if ROUNDS else three[:1]:
            await asyncio.to_thread(replica.restart)
            await healthy(proxy, *three)
            await load.wait_for(calls=30, messages=10)


@LONG_FORM
async def test_a_caller_does_not_notice_that_a_replica_is_killed_and_streams_lose_nothing(
    proxy: Envoy, three: list[Replica], texts: Known, round_: int
) -> None:
    killed = three[round_ % len(three)]
    async with through(proxy, texts) as load:
        await asyncio.to_thread(killed.kill)
        await load.wait_for(calls=100, messages=20)
        await asyncio.to_thread(killed.start)
        await healthy(proxy, killed)


@LONG_FORM
async def test_a_replica_that_hangs_gets_no_more_calls_until_it_answers(
    proxy: Envoy, three: list[Replica], texts: Known, round_: int
) -> None:
    hanging = three[round_ % len(three)]
    async with through(proxy, texts):
        hanging.send(signal.SIGSTOP)
        try:
            await asyncio.to_thread(
                proxy.wait_for, lambda hosts: not hosts[hanging.port].healthy, "ejected"
            )
            before = proxy.hosts()[hanging.port].requests
            async with through(proxy, texts) as others:  # none of whom hangs on its connections
                await others.wait_for(calls=100, messages=20)
            assert before == proxy.hosts()[hanging.port].requests
        finally:
            hanging.send(signal.SIGCONT)
        await healthy(proxy, hanging)


@LONG_FORM
async def test_a_new_replica_gets_its_share(
    proxy: Envoy,
    three: list[Replica],
    latecomer: Replica,
    texts: Known,
    round_: int,  # noqa: ARG001
) -> None:
    async with through(proxy, texts) as load:
        await asyncio.to_thread(latecomer.start)
        await healthy(proxy, latecomer, *three)
        before = proxy.hosts()
        await load.wait_for(calls=400)
        after = proxy.hosts()
    calls = {port: after[port].requests - before[port].requests for port in after}
    await asyncio.to_thread(latecomer.end)
    fair = sum(calls.values()) / len(calls)
    assert calls[latecomer.port] >= 0.5 * fair, calls
