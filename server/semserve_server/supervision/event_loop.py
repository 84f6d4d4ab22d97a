"""The event loop of a server, and how its process ends."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor

from semserve_server.observability.stderr import flush
from semserve_server.runtime.worker_threads import join_all

END_SECONDS = 1.0
"""Most seconds that the process waits at its end for threads that still work."""
OFF_LOOP = "off-loop"
"""Name prefix of the threads of `asyncio.to_thread`."""


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Create an event loop. uvloop saves 20 to 30 us of CPU a call; Windows does not have it."""
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    import uvloop  # noqa: PLC0415  (Windows has none)

    return uvloop.new_event_loop()


class MainLoop:
    """Runs a coroutine on an event loop, and then ends the process in time.

    At exit Python waits for threads, including threads that hang in ONNX Runtime or on a disk.
    """

    def __init__(
        self, loop_factory: Callable[[], asyncio.AbstractEventLoop] = new_event_loop
    ) -> None:
        """Create the event loop.

        Args:
            loop_factory: creates it.
        """
        self._runner = asyncio.Runner(loop_factory=loop_factory)
        self._executor = ThreadPoolExecutor(thread_name_prefix=OFF_LOOP)

    def run(self, main: Coroutine[None, None, None]) -> None:
        """Run a coroutine to its end, or raise what it raises."""
        self._runner.get_loop().set_default_executor(self._executor)
        self._runner.run(main)

    def end(self, code: int, *, at_once: bool = False) -> int:
        """Write the last log lines, wait briefly for threads, and return the exit code.

        Args:
            code: exit code of the process.
            at_once: whether a thread is known to hang. Then, or if a thread turns out to hang, this
                function ends the process.
        """
        self._executor.shutdown(wait=False, cancel_futures=True)
        idle = not at_once and join_all(END_SECONDS) and _ended(OFF_LOOP, END_SECONDS)
        flush()
        if not idle:
            os._exit(code)
        self._runner.close()
        return code


def _ended(prefix: str, seconds: float) -> bool:
    """Wait for the threads with that name prefix, at most `seconds` each.

    Return whether all ended.
    """
    threads = [one for one in threading.enumerate() if one.name.startswith(prefix)]
    for thread in threads:
        thread.join(seconds)
    return not any(thread.is_alive() for thread in threads)
