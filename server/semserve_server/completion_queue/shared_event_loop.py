"""An event loop that another thread may run while its own thread waits for the selector.

A call that has arrived is then handled on the thread that received it: the event loop's own thread
is not woken, which takes 30 to 80 us on a virtual machine. Only the thread that has the turn runs
callbacks, so the code on the loop needs no locks, as on every event loop.
"""

from __future__ import annotations

import asyncio
import logging
import selectors
import threading
from collections.abc import Callable
from contextvars import Context
from math import inf
from typing import Any, TypeVarTuple

log = logging.getLogger(__name__)

_Arguments = TypeVarTuple("_Arguments")

MAX_ITERATIONS = 64
"""Most iterations of one turn of the guest."""


class SharedEventLoop(asyncio.SelectorEventLoop):
    """An event loop of two threads: its own one, and a guest that calls `run_guest`.

    The own thread gives up the turn only while it waits in its selector.
    """

    _ready: Any
    _scheduled: list[asyncio.TimerHandle]
    _run_once: Callable[[], None]
    _write_to_self: Callable[[], None]
    _check_closed: Callable[[], None]

    def __init__(self) -> None:
        self._turn = _Turn()
        self._shared_selector = _SharedSelector(self._turn, self._has_work, self._first_timer)
        super().__init__(self._shared_selector)
        self._receive = _nothing
        # In debug mode asyncio refuses callbacks from every thread but its own.
        self.set_debug(enabled=False)

    def receive_from(self, receive: Callable[[], None]) -> None:
        """Set a function that each iteration calls, to handle what has arrived meanwhile."""
        self._receive = self._shared_selector.receive = receive

    def run_guest(self) -> None:
        """Run callbacks on the calling thread, which is not the loop's own, until none is ready.

        Waits for the turn. The thread must not have a running event loop.
        """
        while True:
            self._turn.acquire()
            asyncio._set_running_loop(self)  # noqa: SLF001  (what a loop calls on its thread)
            try:
                self._run_ready()
                if self._first_timer() < self._shared_selector.first_timer:
                    self._write_to_self()
            except BaseException as error:  # noqa: BLE001  (the own thread raises it)
                self._shared_selector.failure = error
                self._write_to_self()
            finally:
                asyncio._set_running_loop(None)  # noqa: SLF001  (the same)
                self._turn.release()
            if not self._ready:  # else a callback of another thread came before the turn ended
                return

    def _run_ready(self) -> None:
        """Receive and run callbacks, at most `MAX_ITERATIONS` times: the own thread has timers."""
        ready, receive = self._ready, self._receive
        receive()
        for _ in range(MAX_ITERATIONS):
            if not ready:
                return
            for _ in range(len(ready)):
                handle = ready.popleft()
                if not handle.cancelled():
                    handle._run()  # noqa: SLF001  (what a loop calls)
            receive()

    def call_soon(
        self,
        callback: Callable[[*_Arguments], object],
        *args: *_Arguments,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """Call a function in the next iteration, as asyncio does without the debug mode."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_soon_threadsafe(
        self,
        callback: Callable[[*_Arguments], object],
        *args: *_Arguments,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """Call a function on the loop, from any thread.

        The own thread is woken only if no thread has the turn: a thread that has it looks for
        callbacks once more after it has ended.

        Raises:
            RuntimeError: the loop is closed.
        """
        self._check_closed()
        handle = self.call_soon(callback, *args, context=context)
        if not self._turn.taken:
            self._write_to_self()
        return handle

    def stop(self) -> None:
        """End `run_forever` after the present iteration."""
        super().stop()
        self._write_to_self()

    def _has_work(self) -> bool:
        return bool(self._ready)

    def _first_timer(self) -> float:
        return self._scheduled[0].when() if self._scheduled else inf


class _Turn:
    """A lock that two threads get in turns. Taken at first."""

    def __init__(self) -> None:
        self._next = threading.Lock()
        self._lock = threading.Lock()
        self._lock.acquire()

    @property
    def taken(self) -> bool:
        """Whether a thread has the turn."""
        return self._lock.locked()

    def acquire(self) -> None:
        """Wait for the turn. A thread that waits gets it before one that releases it and asks."""
        with self._next:
            self._lock.acquire()

    def release(self) -> None:
        """End the turn."""
        self._lock.release()


class _SharedSelector(selectors.DefaultSelector):
    """The selector of the loop. It gives up the turn while it waits."""

    def __init__(
        self, turn: _Turn, has_work: Callable[[], bool], first_timer: Callable[[], float]
    ) -> None:
        super().__init__()
        self._turn = turn
        self._has_work = has_work
        self._find_first_timer = first_timer
        self._own_thread = threading.get_ident()
        self.receive: Callable[[], None] = _nothing
        self.first_timer = inf
        """The timer until which the own thread waits, in seconds of the loop's clock."""
        self.failure: BaseException | None = None
        """What ended the guest's turn."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return the files that are ready; none on the thread of a guest, which never waits."""
        if threading.get_ident() != self._own_thread:
            self.receive()
            return []
        if timeout is not None and timeout <= 0:
            self.receive()
            return super().select(0)
        self.first_timer = self._find_first_timer()
        self._turn.release()
        try:
            return [] if self._has_work() else super().select(timeout)
        finally:
            self._turn.acquire()
            if self.failure is not None:
                raise self.failure


def _nothing() -> None:
    pass
