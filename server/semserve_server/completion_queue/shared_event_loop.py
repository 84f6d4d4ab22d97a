"""An event loop that another thread may run while its own thread waits for the selector.

A call is then handled on the thread that received it: the event loop's own thread is not woken,
which takes 30 to 80 us on a virtual machine. Only the thread that has the turn runs callbacks, so
code on the loop needs no locks, as on every event loop.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context
from math import inf
from typing import TypeVarTuple

_Arguments = TypeVarTuple("_Arguments")

MAX_ITERATIONS = 64
"""Most iterations of one turn of a guest. Timers and files are for the own thread."""


class SharedEventLoop(asyncio.SelectorEventLoop):
    """An event loop of several threads: its own one, and guests that call `run_guest`.

    The own thread gives up the turn only while it waits in its selector.
    """

    # Parts of asyncio's event loops, the same in Python 3.11 to 3.13.
    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]
    _write_to_self: Callable[[], None]
    _check_closed: Callable[[], None]

    def __init__(self) -> None:
        self._turn = _Turn()
        self._receivers: list[Callable[[], None]] = []
        self._waits_until = inf
        self._failure: BaseException | None = None
        self._own_thread = threading.get_ident()
        self.running_thread = self._own_thread
        """Identifier of the thread that runs callbacks, for the watchdog's log."""
        super().__init__(_Selector(self))
        # In debug mode asyncio refuses callbacks from every thread but its own.
        self.set_debug(enabled=False)

    def add_receiver(self, receive: Callable[[], None]) -> None:
        """Add a function that each iteration calls, to handle what has arrived meanwhile."""
        self._receivers.append(receive)

    def remove_receiver(self, receive: Callable[[], None]) -> None:
        """Remove such a function."""
        self._receivers.remove(receive)

    def run_guest(self) -> None:
        """Run callbacks on the calling thread, which is not the loop's own, until none is ready.

        Waits for the turn. The thread must not have a running event loop.
        """
        while True:
            self._turn.acquire()
            if self.is_closed():
                self._turn.release()
                return
            self.running_thread = threading.get_ident()
            asyncio._set_running_loop(self)  # noqa: SLF001  (what a loop calls on its thread)
            try:
                self._run_ready()
                if self._first_timer() < self._waits_until:
                    self._write_to_self()
            except BaseException as error:  # noqa: BLE001  (the own thread raises it)
                self._failure = error
                self._write_to_self()
            finally:
                asyncio._set_running_loop(None)  # noqa: SLF001  (the same)
                self.running_thread = self._own_thread
                self._turn.release()
            if not self._ready:  # else another thread added a callback before the turn ended
                return

    def _run_ready(self) -> None:
        """Receive and run callbacks until none is ready."""
        ready = self._ready
        self.receive()
        for _ in range(MAX_ITERATIONS):
            if not ready:
                return
            for _ in range(len(ready)):
                handle = ready.popleft()
                if not handle.cancelled():
                    handle._run()  # noqa: SLF001  (what a loop calls)
            self.receive()

    def receive(self) -> None:
        """Handle what has arrived. Only the thread that has the turn may call this."""
        for receive in self._receivers:
            receive()

    def wait(self, select: Callable[[], _Events]) -> _Events:
        """Give up the turn while the own thread waits for its selector.

        Args:
            select: waits.
        """
        self._waits_until = self._first_timer()
        self._turn.release()
        try:
            # A callback that was added before the turn ended wakes nobody.
            return [] if self._ready else select()
        finally:
            self._turn.acquire()
            if self._failure is not None:
                raise self._failure

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

    def close(self) -> None:
        """Close the loop. A guest that waits for the turn returns."""
        super().close()
        if self._turn.taken:
            self._turn.release()

    def _first_timer(self) -> float:
        """Return when the first timer is due, in seconds of the loop's clock."""
        return self._scheduled[0].when() if self._scheduled else inf


class _Turn:
    """A lock that threads get in the order in which they ask, or nearly. Taken at first."""

    def __init__(self) -> None:
        self._next = threading.Lock()
        self._lock = threading.Lock()
        self._lock.acquire()

    @property
    def taken(self) -> bool:
        """Whether a thread has the turn."""
        return self._lock.locked()

    def acquire(self) -> None:
        """Wait for the turn. A thread that waits gets it before one that has just released it."""
        with self._next:
            self._lock.acquire()

    def release(self) -> None:
        """End the turn."""
        self._lock.release()


_Events = list[tuple[selectors.SelectorKey, int]]


class _Selector(selectors.DefaultSelector):
    """The selector of the loop's own thread."""

    def __init__(self, loop: SharedEventLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> _Events:
        """Return the files that are ready, as `selectors.BaseSelector`."""
        if timeout is not None and timeout <= 0:
            self._loop.receive()
            return super().select(0)
        wait = super().select
        return self._loop.wait(lambda: wait(timeout))
