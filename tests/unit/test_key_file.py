"""Key files that several write at once, that do not fit the disk, and that are large."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from semserve_server.auth import key_store
from semserve_server.auth.api_key import new_key
from semserve_server.auth.key_file import add_key, read_keys
from semserve_server.auth.key_store import INLINE_BYTES, KeyStore
from semserve_server.errors import Unauthenticated

WRITERS = 8


def test_of_several_who_add_one_name_at_once_one_does(tmp_path: Path) -> None:
    path = tmp_path / "keys"

    def add(name: str) -> bool:
        together.wait()
        try:
            add_key(path, new_key(name)[1])
        except ValueError as error:
            refusals.append(str(error))
            return False
        return True

    refusals: list[str] = []
    together = threading.Barrier(WRITERS)
    names = [f"name-{number}" for number in range(20)]
    with ThreadPoolExecutor(WRITERS) as pool:
        for name in names:
            assert 1 == sum(pool.map(add, [name] * WRITERS))
    assert names == list(read_keys(path))
    assert all("already: use another name" in reported for reported in refusals)


def test_several_who_add_other_names_at_once_all_do(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    names = {f"name-{number}" for number in range(100)}
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(lambda name: add_key(path, new_key(name)[1]), names))
    assert names == {*read_keys(path)}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no ulimit")
def test_a_key_that_the_disk_has_no_room_for_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    add_key(path, new_key("alice")[1])
    with path.open("a") as file:
        file.write("#" * (1000 - path.stat().st_size) + "\n")
    before = path.read_bytes()
    command = [sys.executable, "-m", "semserve_server", "key", "bob", "--file", str(path)]
    ended = subprocess.run(
        ["sh", "-c", 'ulimit -f 2 && exec "$@"', "sh", *command],  # two blocks of 512 bytes
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (2, "") == (ended.returncode, ended.stdout)
    assert "no space is left for another key" in ended.stderr
    assert before == path.read_bytes()


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def may_read(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Reads of a key file on other threads wait for it."""
    event, loop_thread = threading.Event(), threading.get_ident()

    def read(path: Path) -> object:
        if threading.get_ident() != loop_thread:
            event.wait(60)
        return read_keys(path)

    monkeypatch.setattr(key_store, "read_keys", read)
    yield event
    event.set()


async def test_a_large_file_is_read_while_the_event_loop_goes_on(
    tmp_path: Path, may_read: threading.Event
) -> None:
    """Half a second would pass for one of the largest size; here it waits for the test."""
    path, clock = tmp_path / "keys", Clock()
    alice, key = new_key("alice")
    add_key(path, key)
    ring = KeyStore(path, clock=clock)
    bob, key = new_key("bob")
    path.write_text("\n".join(["#" * INLINE_BYTES, str(key), ""]))
    clock.now += 2
    principal = ring.principal(alice)
    clock.now += 2
    ring.check_file()  # the reading goes on, and another is not begun
    assert principal is ring.principal(alice)
    may_read.set()
    while principal.key is not None:
        await asyncio.to_thread(int)
    assert "bob" == ring.principal(bob).key.name
    with pytest.raises(Unauthenticated):
        ring.principal(alice)


async def test_a_large_file_that_is_wrong_changes_nothing_but_the_log(
    tmp_path: Path, may_read: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    path, clock = tmp_path / "keys", Clock()
    alice, key = new_key("alice")
    add_key(path, key)
    ring = KeyStore(path, clock=clock)
    path.write_text("#" * INLINE_BYTES)
    may_read.set()
    clock.now += 2
    ring.check_file()
    while "has no key; the present keys stay" not in caplog.text:
        await asyncio.to_thread(int)
    assert "alice" == ring.principal(alice).key.name
