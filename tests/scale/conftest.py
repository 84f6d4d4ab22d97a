"""Fixtures: the texts with their right answers, replicas, Envoy; and how often all is done."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from chaos.answers import Known, compute
from load.process import free_port

from scale.envoy import Envoy, envoy
from scale.replicas import ROUNDS, TINY, Replica, replicas


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Repeat each test that breaks something."""
    if "round_" in metafunc.fixturenames:
        metafunc.parametrize("round_", range(ROUNDS or 1))


@pytest.fixture(scope="package")
def texts() -> Known:
    """Texts with the vectors that the tiny model gives for each alone."""
    return compute(TINY, count=60, seed=7).texts


@pytest.fixture(scope="package")
def servers() -> Iterator[list[Replica]]:
    """Three servers, for all tests."""
    with replicas(3, "--access-log") as all_of_them:
        yield all_of_them


@pytest.fixture
def three(servers: list[Replica]) -> list[Replica]:
    """Three servers that serve; a test may end them in any way."""
    ended = [one for one in servers if not one.runs]
    for one in ended:
        one.start()
    for one in ended:
        one.wait_until_serving()
    return servers


@pytest.fixture(scope="package")
def latecomer(servers: list[Replica]) -> Iterator[Replica]:
    """A fourth server, which Envoy knows of and which has not started."""
    late = Replica(free_port(), servers[0].flags)
    yield late
    late.close()


@pytest.fixture(scope="package")
def running_proxy(
    servers: list[Replica], latecomer: Replica, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Envoy]:
    """Envoy in front of the three, and of the one that starts later."""
    ports = [one.port for one in (*servers, latecomer)]
    with envoy(ports, tmp_path_factory.mktemp("envoy")) as started:
        yield started


@pytest.fixture
def proxy(running_proxy: Envoy, three: list[Replica]) -> Envoy:
    """Envoy, which sends calls to all three."""
    running_proxy.wait_for(lambda hosts: all(hosts[one.port].healthy for one in three), "healthy")
    return running_proxy
