"""The event loop of a server, and how the process that ran it ends."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor

from semserve_server.observability.stderr import flush
from semserve_server.runtime.worker_threads import join_all

END_SECONDS = 1.0
"""For how long the end of the process waits for threads that still work."""
OFF_LOOP = "off-loop"
"""Name of the threads of `asyncio.to_thread`."""


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Make one; uvloop's costs a call 20 to 30 us of CPU less, and Windows has none."""
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    import uvloop  # noqa: PLC0415  (Windows has none)

    return uvloop.new_event_loop()


class MainLoop:
    """Runs a coroutine on an event loop of its own, and then ends the process in time.

    Python waits for threads when it exits, also for those that hang in ONNX Runtime or on a disk.
    """

    def __init__(self) -> None:
        self._runner = asyncio.Runner(loop_factory=new_event_loop)
        self._executor = ThreadPoolExecutor(thread_name_prefix=OFF_LOOP)

    def run(self, main: Coroutine[None, None, None]) -> None:
        """Run to the end, or raise what it raises."""
        self._runner.get_loop().set_default_executor(self._executor)
        self._runner.run(main)

    def end(self, code: int, *, at_once: bool = False) -> int:
        """Write the log's last lines, wait a moment for threads, and return the exit code.

        Args:
            code: of the process.
            at_once: whether some thread is known to hang. Then, and where one turns out to, the
                process ends here and now.
        """
        self._executor.shutdown(wait=False, cancel_futures=True)
        idle = not at_once and join_all(END_SECONDS) and _ended(OFF_LOOP, END_SECONDS)
        flush()
        if not idle:
            os._exit(code)
        self._runner.close()
        return code


def _ended(prefix: str, seconds: float) -> bool:
    """Wait for the threads of that name, at most so long each; tell whether they have ended."""
    threads = [one for one in threading.enumerate() if one.name.startswith(prefix)]
    for thread in threads:
        thread.join(seconds)
    return not any(thread.is_alive() for thread in threads)
