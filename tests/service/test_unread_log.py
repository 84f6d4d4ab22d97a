"""Standard error that nobody reads holds up nobody, and what was lost is counted."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from conftest import start_server
from semserve_server.observability import logs, stderr
from semserve_server.observability.stderr import QueuedHandler, make_nonblocking

FULL = 2 * 65_536
STUCK_LOOP = """
import asyncio, logging, time
from semserve_server.supervision import watchdog
from semserve_server.observability import logs
logs.configure("info", "text")
watchdog.CHECK_SECONDS = 0.05
async def main():
    with watchdog.LoopWatch(stall_timeout=0.1, run_timeout=0.5):
        logging.getLogger("x").info("y" * {size})
        time.sleep(600)
asyncio.run(main())
"""
WARNS = """
import os, sys, warnings
from semserve_server.observability import logs, stderr
logs.configure("info", "json", process=3)
warnings.warn("old")
os.write(2, b"a line of a library's own\\n" * {times})
raise SystemExit(7)
"""


@pytest.mark.parametrize("size", [1, FULL], ids=["a log that is read", "a log that is not"])
def test_a_blocked_loop_ends_the_process_whether_its_log_is_read_or_not(size: int) -> None:
    command = ("-c", STUCK_LOOP.format(size=size))
    process = start_server(command=command)
    try:
        assert 1 == process.wait(60)
    finally:
        process.kill()
        process.communicate()


def test_warnings_are_log_lines_and_libraries_print_as_ever() -> None:
    process = start_server(command=("-c", WARNS.format(times=1)))
    output = process.communicate(timeout=60)[1].splitlines()
    assert 7 == process.returncode
    (reported,) = [json.loads(line) for line in output if line.startswith("{")]
    assert ("py.warnings", 3) == (reported["logger"], reported["process"])
    assert "UserWarning: old" in reported["message"]
    assert "a line of a library's own" in output


def test_what_libraries_print_waits_for_no_reader() -> None:
    process = start_server(command=("-c", WARNS.format(times=10_000)))
    try:
        assert 7 == process.wait(60)
    finally:
        process.kill()
        process.communicate()


def test_a_server_logs_as_ever_where_its_log_is_a_socket_or_a_file(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """As systemd's journal is, and a redirection."""
    local_end, remote_end = socket.socketpair()
    with local_end, remote_end:
        assert "fails: nowhere" in said_to(remote_end.fileno(), lambda: local_end.recv(65_536))
    file = tmp_path_factory.mktemp("log") / "log"
    file.write_text("before\n")
    with file.open("r+") as opened:
        opened.seek(0, os.SEEK_END)
        assert "fails: nowhere" in said_to(opened.fileno(), file.read_bytes)
    assert file.read_text().startswith("before\n")


def said_to(descriptor: int, read: object) -> str:
    process = subprocess.run(
        [sys.executable, "-m", "semserve_server", "--models", "nowhere"],
        stderr=descriptor, timeout=60, check=False,
    )  # fmt: skip
    assert 2 == process.returncode
    return read().decode().replace("semserve-server: nowhere", "fails: nowhere")


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    try:
        yield read, write
    finally:
        os.close(read)
        os.close(write)


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("test", logging.INFO, __file__, 1, text, (), None)


def test_lines_without_room_are_dropped_and_told_of_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stderr, "MAX_LINES", 10)
    with pipe() as (read, write):
        handler = QueuedHandler(write)
        handler.setFormatter(logs.TextFormatter())
        handler.handle(record("x" * FULL))  # the thread waits in the midst of it
        for number in range(100):
            handler.handle(record(f"line {number}"))
        assert not handler.drain(0)
        lost = handler.dropped
        assert 100 - 11 <= lost <= 100 - 9
        reported = b""
        while (
            f"{lost} log lines were dropped".encode() not in reported or b"line 0\n" not in reported
        ):
            reported += os.read(read, 65_536)
        assert handler.drain(30)
        assert b"line 99" not in reported
        handler.handle(record("at last"))
        assert handler.drain(30)
        assert os.read(read, 65_536).endswith(b"at last\n")
        assert lost == handler.dropped


def test_long_lines_are_bounded_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stderr, "MAX_CHARACTERS", 100)
    with pipe() as (_, write):
        handler = QueuedHandler(write)
        handler.write("x" * 101)
        assert 1 == handler.dropped


def test_a_record_that_cannot_be_formatted_is_told_and_harms_nobody() -> None:
    with pipe() as (read, write):
        handler = QueuedHandler(write)
        odd = logging.LogRecord("odd", logging.INFO, __file__, 1, "%d cats", ("many",), None)
        handler.handle(odd)
        assert handler.drain(30)
        assert b"a log record of odd cannot be formatted: '%d cats'\n" == os.read(read, 65_536)


def test_a_reader_that_is_gone_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    handler = QueuedHandler(write)
    handler.write("to nobody")
    assert handler.drain(30)
    assert 1 == handler.dropped
    os.close(write)


def test_others_who_have_the_pipe_keep_theirs_as_it_is() -> None:
    """Only this process's own descriptor does not wait."""
    with pipe() as (_, write):
        shared = os.dup(write)
        make_nonblocking(shared)
        assert (False, True) == (os.get_blocking(shared), os.get_blocking(write))
        os.close(shared)
