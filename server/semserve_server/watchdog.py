"""Notices what does not get on: a run that does not return, a lane that died, a blocked event loop.

The event loop looks at the runs, and a thread looks at the event loop. What hangs turns health to
NOT_SERVING, and the log says why; what still hangs after the longest time that a run may take ends
the process, since threads that hang cannot be mended from inside, for its supervisor to start
another.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import threading
import traceback
from typing import Self

from semserve_server.engine import Engine
from semserve_server.errors import EngineFailed
from semserve_server.models import Models
from semserve_server.stalls import Stalls

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How often it looks."""
EXIT_CODE = 1


class Watchdog:
    """Looks at everything that is loaded, and at the event loop that it is made on."""

    def __init__(self, models: Models, *, stall_timeout: float, run_timeout: float) -> None:
        """Make one.

        Args:
            models: whose engines to look at, and who tells of their health.
            stall_timeout: seconds of no progress after which health is NOT_SERVING.
            run_timeout: seconds after which the process must end.
        """
        self._models = models
        self._stall_timeout = min(stall_timeout, run_timeout)
        self._run_timeout = run_timeout
        self._stalls = Stalls()

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
        """Look once at the runs of every engine.

        Raises:
            EngineFailed: a lane has died, or a run does not return.
        """
        engines = self._models.alive()
        runs = {
            # Not the engine itself, which is to go once nobody else needs it.
            (id(engine), lane): since
            for engine in engines
            for lane, since in engine.runs().items()
        }
        stalls = self._stalls.look(runs)
        for engine in engines:
            if engine.failed:
                raise EngineFailed(f"{engine.name}: a lane died; the log above says of what")
            looks = [count for (one, _), count in stalls.items() if one == id(engine)]
            self._judge(engine, max(looks, default=0) * LOOK_SECONDS)

    def _judge(self, engine: Engine, seconds: float) -> None:
        if seconds and seconds >= self._run_timeout:
            raise EngineFailed(
                f"{engine.name}: a run has not returned for {seconds:.0f} s, "
                f"--run-timeout is {self._run_timeout:g}"
            )
        stalled = seconds > 0 and seconds >= self._stall_timeout
        if stalled == engine.stalled:
            return
        engine.stalled = stalled
        if stalled:
            log.error(
                "%s: a run has not returned for %.0f s: NOT_SERVING until it does, and the process "
                "ends after %g s",
                engine.name, seconds, self._run_timeout,
            )  # fmt: skip
        else:
            log.warning("%s: the run has returned", engine.name)
        self._models.on_change()


class LoopWatch:
    """A thread that sees whether the event loop still turns.

    While it does not, no call is answered and no health check either; this tells why, and ends the
    process if that goes on.
    """

    def __init__(self, *, stall_timeout: float, run_timeout: float) -> None:
        self._stall_timeout = stall_timeout
        self._run_timeout = run_timeout
        self._beats = 0
        self._loop_thread = threading.get_ident()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="loop-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def beat(self) -> None:
        """Tell, on the event loop, that it turns."""
        self._beats += 1

    def _watch(self) -> None:
        stalls = Stalls()
        told = False
        while not self._ended.wait(LOOK_SECONDS):
            # The beat itself comes once a look, so the first one without it is no stall.
            seconds = (stalls.look({"": self._beats})[""] - 1) * LOOK_SECONDS
            if seconds >= self._stall_timeout and not told:
                log.error(
                    "the event loop is blocked for %.0f s, and answers nobody:\n%s",
                    seconds, self._stack(),
                )  # fmt: skip
            told = seconds >= self._stall_timeout
            if seconds >= self._run_timeout:
                log.critical("the event loop stays blocked: the process ends")
                logging.shutdown()
                os._exit(EXIT_CODE)

    def _stack(self) -> str:
        frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001  (its documented name)
        return "".join(traceback.format_stack(frame)) if frame else "its thread has ended"


async def either(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event, at most so long; tell whether it came."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    return event.is_set()
