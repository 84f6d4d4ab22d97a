"""Behind Envoy, with the configuration that users get, callers see no replica end or hang."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from chaos.answers import Known
from semserve import AsyncClient

from scale.callers import ONCE, Callers, callers
from scale.envoy import ENVOY, Envoy, Host
from scale.envoy import envoy as running_envoy
from scale.replicas import LONG_FORM, MODEL, ROUNDS, Replica

pytestmark = [
    pytest.mark.xdist_group("replicas"),
    pytest.mark.skipif(
        ENVOY is None, reason="Envoy is not installed: run `make .tools/envoy/.ready`"
    ),
]


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


def shares(
    before: dict[int, Host], after: dict[int, Host], replica: Replica
) -> tuple[float, float]:
    """Return the calls that a replica got meanwhile, and those of an equal share."""
    calls = {port: after[port].requests - before[port].requests for port in after}
    used = [number for number in calls.values() if number]
    return calls[replica.port], sum(used) / len(used)


async def test_a_replica_gets_calls_as_soon_as_envoy_finds_it_healthy(
    three: list[Replica], texts: Known, tmp_path: Path
) -> None:
    with running_envoy([one.port for one in three], tmp_path) as proxy:
        await healthy(proxy, *three)
        async with AsyncClient(proxy.address, retry=ONCE) as client:
            for text in texts.items:  # one after another: each goes to a replica drawn by chance
                await client.embed([str(text)], model=MODEL)
        hosts = proxy.hosts()
    assert all(hosts[one.port].requests for one in three), hosts


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


async def test_a_caller_does_not_notice_that_a_replica_is_killed_and_streams_lose_nothing(
    proxy: Envoy, three: list[Replica], texts: Known, round_: int
) -> None:
    killed = three[round_ % len(three)]
    async with through(proxy, texts) as load:
        await asyncio.to_thread(killed.kill)
        await load.wait_for(calls=100, messages=20)


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
            async with through(proxy, texts) as others:  # none of whom waits for the one that hangs
                # Calls that were answered since show that Envoy's worker thread knows of it too.
                before = proxy.hosts()[hanging.port].requests
                await others.wait_for(calls=100, messages=20)
            assert before == proxy.hosts()[hanging.port].requests
        finally:
            hanging.send(signal.SIGCONT)
        await healthy(proxy, hanging)


@LONG_FORM
async def test_a_slow_replica_gets_fewer_calls_than_its_share(
    proxy: Envoy, three: list[Replica], texts: Known, round_: int
) -> None:
    slow = three[round_ % len(three)]
    before = proxy.hosts()
    async with through(proxy, texts) as load:
        for _ in range(10):  # each stop is shorter than the health checks allow
            slow.send(signal.SIGSTOP)
            try:
                await load.wait_for(calls=40)
            finally:
                slow.send(signal.SIGCONT)
            await load.wait_for(calls=1)
    share, fair = shares(before, proxy.hosts(), slow)
    assert share <= 0.7 * fair


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
    await asyncio.to_thread(latecomer.end)
    share, fair = shares(before, after, latecomer)
    assert share >= 0.5 * fair
