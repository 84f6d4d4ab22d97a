"""Several processes on one address: shared, led, and ended together."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from conftest import COMMAND, SERVING, fails, running_server, start_server, wait_for_line
from controlled import NAME, describe
from refusals import refusal
from semserve.v1.embedding_pb2 import EmbedRequest, EmbedResponse
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub
from semserve.v1.model_pb2 import GetModelRequest
from semserve.v1.model_pb2_grpc import ModelServiceStub
from semserve_server.auth.api_key import new_key
from semserve_server.auth.key_file import add_key
from semserve_server.auth.key_store import KeyStore
from semserve_server.config import Config
from semserve_server.errors import ConfigError, Overloaded
from semserve_server.processes.supervisor import check_processes, worker_config
from semserve_server.system.cpus import usable_cpus
from semserve_server.system.listen_address import reserved

ECHO = ("--echo", "8", "--drain-delay", "0")
BOTH = {"0", "1"}
EMBEDDED = re.compile(r'^semserve_requests_total\{code="OK",method="Embed".*\} [1-9]', re.MULTILINE)
MANY = EmbedRequest(texts=[f"{number} cats" for number in range(150)], model=NAME)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two processes that serve, and what they have said until they did."""

    parent: subprocess.Popen[str]
    line: str
    said: str

    @property
    def address(self) -> str:
        return self.line.split(SERVING)[1].split(": ")[0]

    def pid(self, number: int) -> int:
        """Return the PID of a process."""
        (found,) = re.findall(rf"process {number} has PID (\d+)", self.said)
        return int(found)

    def answered(self) -> set[str]:
        """Tell which processes have answered an Embed, each of which has metrics of its own."""
        pages = re.findall(r"metrics are at (\S+) process=(\d)", self.said)
        return {number for url, number in pages if EMBEDDED.search(scrape(url))}

    @contextlib.asynccontextmanager
    async def reached(self) -> AsyncIterator[list[grpc.aio.Channel]]:
        """Open connections, of which the kernel chooses the process, until each has some."""
        async with contextlib.AsyncExitStack() as stack:
            channels: list[grpc.aio.Channel] = []
            while len(channels) < 8 or self.answered() != BOTH:
                # Channels of equal options would share a connection.
                options = [("semserve.connection", len(channels))]
                channel = grpc.aio.insecure_channel(self.address, options=options)
                channels.append(await stack.enter_async_context(channel))
                await embed(channel, EmbedRequest(texts=["a cat"], model=NAME))
            yield channels

    def listen(self, word: str, times: int) -> str:
        """Return what was said until a word has come so often."""
        assert self.parent.stderr is not None
        output = ""
        while output.count(word) < times:
            line = self.parent.stderr.readline()
            assert line, output
            output += line
        return output

    def wait(self) -> tuple[int, str]:
        """Wait until nobody is left; the exit code, and what was said since it served."""
        _, output = self.parent.communicate(timeout=60)
        return self.parent.returncode, output


@contextlib.contextmanager
def pair(*arguments: str, command: Sequence[str] = COMMAND) -> Iterator[Pair]:
    """Start two processes, and see to it that none is left."""
    arguments = ("--processes", "2", "--metrics-address", "127.0.0.1:0", *arguments)
    process = start_server(*arguments, command=command)
    output: list[str] = []
    try:
        line = wait_for_line(process, output)
        yield Pair(process, line, "".join(output))
    finally:
        process.kill()  # what is left drains when it is gone
        process.communicate(timeout=60)


@pytest.fixture(scope="module")
def models(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(tiny_models, tmp_path_factory.mktemp("models") / "models"))


@pytest.fixture(scope="module")
def both(models: Path) -> Iterator[Pair]:
    with pair("--models", str(models)) as running:
        yield running
        running.parent.send_signal(signal.SIGTERM)
        code, output = running.wait()
        assert 0 == code, output


def scrape(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as page:  # noqa: S310  (the server's own)
        return page.read().decode()


async def embed(channel: grpc.aio.Channel, request: EmbedRequest) -> EmbedResponse:
    return await EmbeddingServiceStub(channel).Embed(request)


def test_one_line_tells_that_all_of_them_serve(both: Pair) -> None:
    assert 1 == both.said.count(SERVING)
    assert " in 2 processes serving on 127.0.0.1:" in both.line
    assert f"{usable_cpus(2)} batch worker" in both.line


async def test_connections_reach_every_process_and_sighup_reloads_in_all(
    both: Pair, models: Path
) -> None:
    async with both.reached() as channels:
        describe(models / NAME, "everywhere")
        both.parent.send_signal(signal.SIGHUP)
        for channel in channels:  # the test's timeout bounds it
            while await description(channel) != "everywhere":
                pass


async def description(channel: grpc.aio.Channel) -> str:
    answer = await ModelServiceStub(channel).GetModel(GetModelRequest(model=NAME))
    return answer.model.description


def test_a_port_in_use_is_refused_whoever_has_it(both: Pair) -> None:
    """SO_REUSEPORT alone would let a second server take half of the first one's connections."""
    code, line = fails("--echo", "8", "--address", both.address)
    assert (2, True) == (code, "cannot listen there: the port is in use" in line)
    with running_server(*ECHO) as alone:
        for address in (both.address, alone.address):
            with pytest.raises(ConfigError, match="the port is in use"), reserved(address):
                pass


async def test_sigterm_to_all_of_them_answers_every_call_that_any_admitted(models: Path) -> None:
    """A signal to the whole group that comes after the parent's word is no second one."""
    with pair("--models", str(models), "--access-log") as both:
        async with both.reached() as channels:
            calls = [asyncio.create_task(embed(channel, MANY)) for channel in channels * 3]
            await asyncio.sleep(0)  # the calls set out
            for channel in channels:
                await refusal(embed(channel, EmbedRequest(model=NAME)))
            both.parent.send_signal(signal.SIGTERM)
            begun = await asyncio.to_thread(both.listen, "draining", 2)
            for number in (0, 1):
                os.kill(both.pid(number), signal.SIGTERM)
            answers = await asyncio.gather(*calls)
        code, output = await asyncio.to_thread(both.wait)
    output = begun + output
    assert 0 == code, output
    assert {150} == {len(one.results) for one in answers}
    assert BOTH == set(re.findall(r"EmbeddingService/Embed OK process=(\d)", output))


def test_a_second_signal_ends_the_drain_of_all() -> None:
    with pair("--echo", "8", "--drain-delay", "600") as both:
        both.parent.send_signal(signal.SIGINT)
        both.listen("draining", 2)
        both.parent.send_signal(signal.SIGINT)
        code, output = both.wait()
    assert 0 == code, output


def test_a_process_that_dies_ends_the_others_in_order() -> None:
    with pair(*ECHO, "--log-format", "json") as both:
        os.kill(both.pid(1), signal.SIGKILL)
        code, output = both.wait()
    assert 1 == code
    assert '"message": "process 1 was killed by SIGKILL: the others drain"' in output
    assert '"message": "stopped", "process": 0}' in output
    assert "semserve-server: process 1 was killed by SIGKILL" == output.splitlines()[-1]


def test_a_parent_that_dies_leaves_nobody_behind() -> None:
    """The processes drain by themselves, and the port is free."""
    with pair(*ECHO) as both:
        both.parent.kill()
        _, output = both.wait()
        with reserved(both.address) as address:
            assert both.address == address
    assert 2 == output.count("stopped process=")


def test_a_process_that_does_not_end_is_killed() -> None:
    hasty = "from semserve_server import __main__; from semserve_server.processes import supervisor"
    command = ("-c", f"{hasty}; supervisor.END_SECONDS = 1; __main__.main()")
    with pair(*ECHO, "--drain-timeout", "0.5", command=command) as both:
        os.kill(both.pid(1), signal.SIGSTOP)
        both.parent.send_signal(signal.SIGTERM)
        code, output = both.wait()
    assert 1 == code
    assert "process 1 has not ended in 1.5 s: killed" in output
    assert "process 1 was killed by SIGKILL" in output.splitlines()[-1]


def test_sigterm_before_the_models_are_warm_ends_the_start(tiny_models: Path) -> None:
    process = start_server("--models", str(tiny_models), "--processes", "2")
    assert process.stderr is not None
    assert "process 0 has PID" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    _, output = process.communicate(timeout=60)
    assert 0 == process.returncode, output
    assert "Traceback" not in output
    assert SERVING not in output


@pytest.mark.parametrize(("setting", "value", "says"), [
    ("address", "unix:here", "processes cannot share --address unix:here"),
    ("address", "127.0.0.1", "give HOST:PORT"),
    ("allow_model_control", True, "LoadModel and UnloadModel would reach one process only"),
    ("metrics_address", "127.0.0.1:65535", "has no port for each"),
])  # fmt: skip
def test_what_cannot_be_shared_is_refused(setting: str, value: object, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        check_processes(Config(processes=2, **{setting: value}))


@pytest.mark.parametrize(("arguments", "says"), [
    (["--address", "192.0.2.1:1"], "--address 192.0.2.1:1: cannot listen there"),
    (["--models", "nowhere"], "semserve-server: nowhere: the directory does not exist"),
])  # fmt: skip
def test_what_cannot_be_served_is_one_line_and_exit_code_2(arguments: list[str], says: str) -> None:
    code, line = fails("--processes", "2", *arguments)
    assert (2, True) == (code, says in line), line


def test_each_process_has_a_port_of_its_own_for_metrics() -> None:
    config = Config(metrics_address="[::1]:9464")
    assert "[::1]:9465" == worker_config(config, "127.0.0.1:1", 1).metrics_address
    anywhere = Config(metrics_address="127.0.0.1:0")
    assert "127.0.0.1:0" == worker_config(anywhere, "127.0.0.1:1", 1).metrics_address


def test_each_process_has_its_part_of_the_cpus_and_at_least_one() -> None:
    assert (max(usable_cpus() // 2, 1), 1) == (usable_cpus(2), usable_cpus(10_000))


def test_each_process_has_its_part_of_a_keys_rate(tmp_path: Path) -> None:
    presented, key = new_key("alice", models=None, tokens_per_second=100)
    add_key(tmp_path / "keys", key)
    principal = KeyStore(tmp_path / "keys", clock=lambda: 0.0, processes=2).principal(presented)
    with principal.reserve(60):  # of fifty
        pass
    with pytest.raises(Overloaded) as refused:
        principal.reserve(1)
    assert pytest.approx(10 / 50) == refused.value.retry_after
