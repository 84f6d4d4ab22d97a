"""Notices what hangs: a run or a text that takes for ever, a worker that died, a blocked event loop.

The event loop looks at the threads that work for models, a thread looks at the event loop, and a
timer of the C library's looks at Python itself. What hangs turns health to NOT_SERVING, and the
log says why; what still hangs after the longest time that a run may take ends the process, since
threads that hang cannot be mended from inside, for its supervisor to start another.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import math
import os
import sys
import threading
import traceback
from typing import Self

from semserve_server.errors import EngineFailed
from semserve_server.observability.stderr import STDERR, flush
from semserve_server.registry.registry import Models
from semserve_server.runtime.worker_threads import Worker
from semserve_server.supervision.progress import Progress

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How often it looks."""
LAST_RESORT_SECONDS = 5.0
"""How much longer than twice `run_timeout` the event loop may show no sign of life before a timer
outside Python ends the process. It is only for what `LoopWatch` cannot see, and unlike that it goes
by the clock, which runs on while the process is stopped: so it takes its time."""
EXIT_CODE = 1
_DOES = {
    "run": "a run",
    "tokenize": "tokenising texts",
    "load": "loading a bundle",
    "score": "computing scores",
}


class Watchdog:
    """Looks at every thread that works for a model, and at the event loop that it is made on."""

    def __init__(self, models: Models, *, stall_timeout: float, run_timeout: float) -> None:
        """Make one.

        Args:
            models: whose workers to look at, and who tells of their health.
            stall_timeout: seconds of no progress after which health is NOT_SERVING; 0 for never.
            run_timeout: seconds after which the process must end; 0 for never.
        """
        self._models = models
        self._run_timeout = run_timeout or math.inf
        self._stall_timeout = min(stall_timeout or math.inf, self._run_timeout)
        self._stalls = Progress()

    async def watch(self, until: asyncio.Event) -> None:
        """Look until the event is set.

        Raises:
            EngineFailed: an engine will never answer again.
        """
        with LoopWatch(stall_timeout=self._stall_timeout, run_timeout=self._run_timeout) as loop:
            while not await either(until, LOOK_SECONDS):
                loop.beat()
                self.look()

    def look(self) -> None:
        """Look once at the threads of every engine, also of those that have been replaced.

        Loads have a limit of their own, which `ModelManager` keeps.

        Raises:
            EngineFailed: a worker has died, or what a thread does does not return.
        """
        for engine in self._models.alive():
            if engine.failed:
                raise EngineFailed(f"{engine.name}: a worker died; the log above says of what")
        workers = [one for one in self._models.workers.all() if one.kind != "load"]
        busy = {one: since for one in workers if (since := one.busy_since) is not None}
        looks = self._stalls.look(busy)
        changes = [self._judge(one, looks.get(one, 0) * LOOK_SECONDS) for one in workers]
        if any(changes):
            self._models.on_change()

    def _judge(self, worker: Worker, seconds: float) -> bool:
        """Note whether a worker hangs; tell whether that is new."""
        what = f"{worker.model}: {_DOES[worker.kind]}"
        if seconds and seconds >= self._run_timeout:
            raise EngineFailed(
                f"{what} has not returned for {seconds:.0f} s, "
                f"--run-timeout is {self._run_timeout:g}"
            )
        stalled = seconds > 0 and seconds >= self._stall_timeout
        if stalled == worker.stalled:
            return False
        worker.stalled = stalled
        if stalled:
            log.error(
                "%s has not returned for %.0f s: NOT_SERVING until it does, and the process %s",
                what, seconds,
                "does not end for it" if math.isinf(self._run_timeout)
                else f"ends after {self._run_timeout:g} s",
            )  # fmt: skip
        else:
            log.warning("%s has returned", what)
        return True


class LoopWatch:
    """A thread that sees whether the event loop still turns, and a timer that sees the thread.

    While the loop does not turn, no call is answered and no health check either; the thread says
    why, and ends the process if that goes on. It needs Python's global lock and the log, so where
    it fails too, a timer of `faulthandler`, which needs neither, prints what every thread does and
    ends the process.
    """

    def __init__(self, *, stall_timeout: float, run_timeout: float) -> None:
        """Make one, on the event loop's thread.

        Args:
            stall_timeout: seconds after which the log tells; infinite for never.
            run_timeout: seconds after which the process ends; infinite for never.
        """
        self._stall_timeout = stall_timeout
        self._run_timeout = run_timeout
        self._beats = 0
        self._loop_thread = threading.get_ident()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="loop-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._set_timer()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if math.isfinite(self._run_timeout):
            faulthandler.cancel_dump_traceback_later()
        self._thread.join(LOOK_SECONDS)

    def beat(self) -> None:
        """Tell, on the event loop, that it turns."""
        self._beats += 1
        self._set_timer()

    def _set_timer(self) -> None:
        """Let the process end unless this is called again in time."""
        if math.isfinite(self._run_timeout):
            seconds = 2 * self._run_timeout + LAST_RESORT_SECONDS
            faulthandler.dump_traceback_later(seconds, exit=True, file=STDERR)

    def _watch(self) -> None:
        stalls = Progress()
        told = False
        while not self._ended.wait(LOOK_SECONDS):
            # The beat itself comes once a look, so the first one without it is no stall.
            seconds = (stalls.look({"": self._beats})[""] - 1) * LOOK_SECONDS
            if seconds > 0 and seconds >= self._stall_timeout and not told:
                log.error(
                    "the event loop is blocked for %.0f s, and answers nobody:\n%s",
                    seconds, self._stack(),
                )  # fmt: skip
            told = seconds >= self._stall_timeout
            if seconds > 0 and seconds >= self._run_timeout:
                log.critical("the event loop stays blocked: the process ends")
                flush()
                os._exit(EXIT_CODE)

    def _stack(self) -> str:
        frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001  (its documented name)
        return "".join(traceback.format_stack(frame)) if frame else "its thread has ended"


async def either(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event, at most so long; tell whether it came."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    return event.is_set()
