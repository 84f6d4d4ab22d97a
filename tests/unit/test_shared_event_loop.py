"""An event loop that other threads may run while its own thread waits."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from semserve_server.completion_queue.shared_event_loop import SharedEventLoop

GUEST = "guest"
ROUNDS = 2_000


@pytest.fixture
def loop() -> Iterator[SharedEventLoop]:
    """A loop that has not run."""
    loop = SharedEventLoop()
    yield loop
    if not loop.is_closed():
        loop.close()


class Guest:
    """A thread that receives functions and runs the loop, which calls them."""

    def __init__(self, loop: SharedEventLoop) -> None:
        self._loop = loop
        self._arrived: deque[Callable[[], object]] = deque()
        self._sent = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._serve, name=GUEST, daemon=True)
        loop.add_receiver(self._receive)
        self._thread.start()

    def send(self, function: Callable[[], object] | None) -> None:
        """Have the guest call a function on the loop; None ends the guest."""
        self._arrived.append(function or self._end)
        self._sent.release()

    def join(self) -> None:
        """Wait until the guest has ended."""
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        self._ended = False
        while not self._ended:
            self._sent.acquire()
            self._loop.run_guest()
            self._ended |= self._loop.is_closed()

    def _receive(self) -> None:
        while self._arrived:
            self._arrived.popleft()()

    def _end(self) -> None:
        self._ended = True


def run(loop: SharedEventLoop, main: Callable[[Guest], Coroutine[Any, Any, Any]]) -> Any:
    """Run a coroutine beside a guest."""
    guest = Guest(loop)
    try:
        return loop.run_until_complete(main(guest))
    finally:
        loop.close()
        guest.send(None)
        guest.join()


def test_what_a_guest_receives_runs_on_its_thread_while_the_own_thread_waits(
    loop: SharedEventLoop,
) -> None:
    async def main(guest: Guest) -> list[str]:
        threads: list[str] = []
        done = asyncio.Event()

        async def task() -> None:
            assert loop is asyncio.get_running_loop()
            threads.append(threading.current_thread().name)
            done.set()

        tasks = []
        # On the own thread's next wait: then no thread has the turn.
        sender = threading.Thread(
            target=guest.send, args=(lambda: tasks.append(loop.create_task(task())),)
        )
        loop.call_later(0.001, sender.start)
        await done.wait()
        await tasks[0]
        return threads

    assert [GUEST] == run(loop, main)


def test_the_thread_that_runs_callbacks_is_known_to_the_watchdog(loop: SharedEventLoop) -> None:
    """A block of the event loop is logged with the stack of the thread that blocks it."""

    async def main(guest: Guest) -> list[tuple[int, int]]:
        seen = []
        for number in range(20):
            done = asyncio.Event()

            def note(done: asyncio.Event = done) -> None:
                seen.append((threading.get_ident(), loop.running_thread))
                done.set()

            if number % 2:
                guest.send(note)
            else:
                loop.call_soon(note)
            await done.wait()
        return seen

    assert all(actual == told for actual, told in run(loop, main))


def test_only_one_thread_runs_callbacks_at_a_time_and_none_is_lost(loop: SharedEventLoop) -> None:
    async def main(guest: Guest) -> tuple[int, int]:
        inside, most, count = 0, 0, 0
        done = asyncio.Event()

        def callback() -> None:
            nonlocal inside, most, count
            inside += 1
            most = max(most, inside)
            threading.Event().wait(0)  # lets another thread run, if one may
            inside -= 1
            count += 1
            if count == 3 * ROUNDS:
                done.set()

        def call_from_outside() -> None:
            for _ in range(ROUNDS):
                loop.call_soon_threadsafe(callback)

        def send_to_guest() -> None:
            for _ in range(ROUNDS):
                guest.send(lambda: loop.call_soon(callback))

        others = [threading.Thread(target=each) for each in (call_from_outside, send_to_guest)]
        for thread in others:
            thread.start()
        for _ in range(ROUNDS):
            loop.call_soon(callback)
            await asyncio.sleep(0)
        await done.wait()
        return most, count

    assert (1, 3 * ROUNDS) == run(loop, main)


def test_a_timer_that_a_guest_sets_is_due_in_time(loop: SharedEventLoop) -> None:
    """The own thread waits for a later timer, or for none."""

    async def main(guest: Guest) -> None:
        for later in (False, True):
            done = asyncio.Event()
            if later:
                loop.call_later(3600, done.set)
            guest.send(lambda done=done: loop.call_later(0.001, done.set))
            async with asyncio.timeout(60):
                await done.wait()

    run(loop, main)


def test_a_result_for_a_waiting_task_wakes_it_from_any_thread(loop: SharedEventLoop) -> None:
    async def main(guest: Guest) -> list[int]:
        results = []
        for number in range(200):
            future = loop.create_future()
            if number % 2:
                guest.send(lambda future=future, number=number: future.set_result(number))
            else:
                threading.Thread(
                    target=loop.call_soon_threadsafe, args=(future.set_result, number)
                ).start()
            results.append(await future)
        return results

    assert [*range(200)] == run(loop, main)


def test_the_end_of_the_main_coroutine_on_a_guests_thread_ends_the_loop(
    loop: SharedEventLoop,
) -> None:
    async def main(guest: Guest) -> str:
        future = loop.create_future()
        guest.send(lambda: future.set_result(None))
        await future
        return threading.current_thread().name

    assert run(loop, main) in (GUEST, threading.main_thread().name)


def test_an_interrupt_of_a_guests_callback_ends_the_loop_with_it(loop: SharedEventLoop) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    async def main(guest: Guest) -> None:
        guest.send(lambda: loop.call_soon(interrupt))
        await asyncio.Event().wait()

    with pytest.raises(KeyboardInterrupt):
        run(loop, main)


def test_a_failing_callback_on_a_guests_thread_is_reported_and_ends_nothing(
    loop: SharedEventLoop,
) -> None:
    reported: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: reported.append(context))

    async def main(guest: Guest) -> None:
        done = asyncio.Event()
        guest.send(lambda: (loop.call_soon(int, "x"), loop.call_soon(done.set)))
        await done.wait()

    run(loop, main)
    assert ["invalid literal for int() with base 10: 'x'"] == [
        str(context["exception"]) for context in reported
    ]


def test_a_closed_loop_takes_no_callbacks(loop: SharedEventLoop) -> None:
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_soon_threadsafe(int)
