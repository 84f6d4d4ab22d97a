"""A Unix socket's path has one server at a time, and nobody's end takes another's socket away."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from pathlib import Path

import grpc
import pytest
from conftest import fails, running_server, start_server
from semserve.v1.embedding_pb2 import EmbedRequest
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub
from semserve_server.errors import ConfigError
from semserve_server.system.unix_socket import MAX_PATH_BYTES, UnixSocket

ECHO = ("--echo", "8", "--drain-delay", "0")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.sock"


async def answers(address: str) -> bool:
    async with grpc.aio.insecure_channel(address) as channel:
        response = await EmbeddingServiceStub(channel).Embed(EmbedRequest(texts=["a"]))
    return len(response.results) == 1


async def test_a_second_server_is_refused_and_the_first_one_goes_on(path: Path) -> None:
    with running_server(*ECHO, "--address", f"unix:{path}") as first:
        assert f"unix:{path}" == first.address
        code, line = await asyncio.to_thread(fails, *ECHO, "--address", f"unix:{path}")
        says = f"--address unix:{path}: cannot listen there: another server answers there"
        assert (2, True) == (code, says in line), line
        assert await answers(first.address)
        assert [path] == [*path.parent.iterdir()]
    assert [] == [*path.parent.iterdir()]


async def test_a_socket_that_a_killed_server_left_is_replaced(path: Path) -> None:
    with running_server(*ECHO, "--address", f"unix:{path}") as killed:
        killed.process.kill()
        await asyncio.to_thread(killed.process.wait)
        assert [path] == [*path.parent.iterdir()]
        with running_server(*ECHO, "--address", f"unix:{path}") as second:
            assert await answers(second.address)


async def test_the_end_of_one_server_leaves_another_ones_socket(path: Path) -> None:
    """Whoever removed the first one's file, the second one's stays."""
    with running_server(*ECHO, "--address", f"unix:{path}") as first:
        await asyncio.to_thread(path.unlink)
        with running_server(*ECHO, "--address", f"unix:{path}") as second:
            first.process.send_signal(signal.SIGTERM)
            assert 0 == await asyncio.to_thread(first.process.wait, 60)
            assert await answers(second.address)


async def test_of_servers_that_start_at_once_one_serves(path: Path) -> None:
    processes = [start_server(*ECHO, "--address", f"unix:{path}") for _ in range(3)]
    try:
        output = [await asyncio.to_thread(until_it_serves_or_ends, one) for one in processes]
        (served,) = [process for process, serves in zip(processes, output, strict=True) if serves]
        assert await answers(f"unix:{path}")
        for process in processes:
            if process is not served:
                assert 2 == await asyncio.to_thread(process.wait, 60)
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def until_it_serves_or_ends(process: subprocess.Popen[str]) -> bool:
    assert process.stderr is not None
    return any("serving on " in line for line in process.stderr)


async def test_paths_are_written_as_grpc_reads_them(tmp_path: Path) -> None:
    address = f"unix://{tmp_path}/with%20blank.sock"
    with running_server(*ECHO, "--address", address):
        assert (tmp_path / "with blank.sock").is_socket()
        assert await answers(address)


def test_a_path_that_cannot_be_a_socket_is_refused_with_its_reason(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("precious")
    (tmp_path / "directory").mkdir()
    long = tmp_path / ("x" * MAX_PATH_BYTES)
    for path, says in {
        file: "the file there is not a socket",
        tmp_path / "directory": "the file there is not a socket",
        tmp_path / "nowhere" / "a.sock": "the directory does not exist",
        long: f"the path is over {MAX_PATH_BYTES} bytes",
    }.items():
        with pytest.raises(ConfigError, match=says):
            UnixSocket(f"unix:{path}")
    assert "precious" == file.read_text()
    code, line = fails(*ECHO, "--address", f"unix:{file}")
    assert (2, True) == (code, "the file there is not a socket" in line)


def test_somebody_who_is_too_busy_to_answer_is_somebody(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.fsencode(path))
        listening.listen(0)
        waiting = []
        try:
            while True:  # until the queue of those who want to connect is full
                waiting.append(socket.socket(socket.AF_UNIX))
                waiting[-1].setblocking(False)
                if waiting[-1].connect_ex(os.fsencode(path)):
                    break
            with pytest.raises(ConfigError, match="another server answers there"):
                UnixSocket(f"unix:{path}")
        finally:
            for one in waiting:
                one.close()


@pytest.mark.parametrize("path", ["", ".", "/", "//", "///", "..", "a%00b"])
def test_what_is_no_path_of_a_file_is_refused_in_words(path: str) -> None:
    with pytest.raises(ConfigError, match="the path does not name a file: give unix:PATH"):
        UnixSocket(f"unix:{path}")
