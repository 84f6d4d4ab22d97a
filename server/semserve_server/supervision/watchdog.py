"""Detects hangs: a run or text that takes too long, a dead worker, a blocked event loop.

The event loop checks the threads that work for models, a thread checks the event loop, and a timer
of the C library checks Python itself. A hang turns health to NOT_SERVING, and the log has the
reason. A hang that lasts longer than `--run-timeout` ends the process, because a hanging thread
cannot be repaired from inside. The process's supervisor then starts another process.
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
from collections.abc import Hashable, Mapping
from typing import Self, TypeVar

from semserve_server.errors import EngineFailed
from semserve_server.observability.stderr import STDERR, flush
from semserve_server.registry.registry import ModelRegistry
from semserve_server.runtime.worker_threads import Worker

log = logging.getLogger(__name__)
_Subject = TypeVar("_Subject", bound=Hashable)

CHECK_SECONDS = 1.0
"""Interval of the checks."""
LAST_RESORT_SECONDS = 5.0
"""The C timer ends the process if the event loop makes no progress for twice `run_timeout` and
this time. It covers only what `LoopWatch` cannot detect. It uses the clock, which continues
while the process is stopped, so it has a long limit."""
EXIT_CODE = 1
_ACTIVITIES = {
    "run": "a run",
    "tokenize": "tokenising texts",
    "load": "loading a bundle",
    "score": "computing scores",
}


class Watchdog:
    """Checks every thread that works for a model, and the event loop that it was created on."""

    def __init__(self, models: ModelRegistry, *, stall_timeout: float, run_timeout: float) -> None:
        """Create a watchdog.

        Args:
            models: registry of the workers to check; reports their health.
            stall_timeout: seconds without progress after which health is NOT_SERVING; 0 for never.
            run_timeout: seconds after which the process must end; 0 for never.
        """
        self._models = models
        self._run_timeout = run_timeout or math.inf
        self._stall_timeout = min(stall_timeout or math.inf, self._run_timeout)
        self._progress = Progress()

    async def watch(self, until: asyncio.Event) -> None:
        """Check until the event is set.

        Raises:
            EngineFailed: a thread does not return.
        """
        with LoopWatch(stall_timeout=self._stall_timeout, run_timeout=self._run_timeout) as loop:
            while not await wait_or_timeout(until, CHECK_SECONDS):
                loop.beat()
                self.check()

    def check(self) -> None:
        """Check the threads of every engine once, including replaced engines.

        Loads have a time limit of their own, in `ModelManager`.

        Raises:
            EngineFailed: a batch worker died, or the work of a thread does not return.
        """
        for engine in self._models.alive():
            if engine.failed:
                raise EngineFailed(f"{engine.name}: a batch worker died; see the log lines above")
        workers = [one for one in self._models.workers.all() if one.kind != "load"]
        busy = {one: since for one in workers if (since := one.busy_since) is not None}
        checks = self._progress.check(busy)
        changes = [self._check_worker(one, checks.get(one, 0) * CHECK_SECONDS) for one in workers]
        if any(changes):
            self._models.on_change()

    def _check_worker(self, worker: Worker, seconds: float) -> bool:
        """Update whether a worker hangs. Return whether that changed."""
        activity = f"{worker.model}: {_ACTIVITIES[worker.kind]}"
        if seconds and seconds >= self._run_timeout:
            raise EngineFailed(
                f"{activity} has not returned for {seconds:.0f} s, "
                f"--run-timeout is {self._run_timeout:g}"
            )
        stalled = seconds > 0 and seconds >= self._stall_timeout
        if stalled == worker.stalled:
            return False
        worker.stalled = stalled
        if stalled:
            log.error(
                "%s has not returned for %.0f s: NOT_SERVING until it does; the process %s",
                activity, seconds,
                "continues" if math.isinf(self._run_timeout)
                else f"ends after {self._run_timeout:g} s",
            )  # fmt: skip
        else:
            log.warning("%s has returned", activity)
        return True


class LoopWatch:
    """A thread that checks the event loop, and a C timer that checks the thread.

    While the event loop is blocked, the server answers neither calls nor health checks. The thread
    logs the reason, and ends the process if the block lasts. It needs Python's global lock and the
    log. In case these fail too, a timer of `faulthandler`, which needs neither, prints the stack of
    every thread and ends the process.
    """

    def __init__(self, *, stall_timeout: float, run_timeout: float) -> None:
        """Create the watch, on the event loop.

        Args:
            stall_timeout: seconds after which a block is logged; infinite for never.
            run_timeout: seconds after which the process ends; infinite for never.
        """
        self._stall_timeout = stall_timeout
        self._run_timeout = run_timeout
        self._beats = 0
        self._loop = asyncio.get_running_loop()
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
        self._thread.join(CHECK_SECONDS)

    def beat(self) -> None:
        """Report progress. Called on the event loop."""
        self._beats += 1
        self._set_timer()

    def _set_timer(self) -> None:
        """Restart the timer that ends the process."""
        if math.isfinite(self._run_timeout):
            seconds = 2 * self._run_timeout + LAST_RESORT_SECONDS
            faulthandler.dump_traceback_later(seconds, exit=True, file=STDERR)

    def _watch(self) -> None:
        unchanged = Progress()
        logged = False
        while not self._ended.wait(CHECK_SECONDS):
            # There is one beat for each check, so the first check without a beat is not a stall.
            seconds = (unchanged.check({"": self._beats})[""] - 1) * CHECK_SECONDS
            if seconds > 0 and seconds >= self._stall_timeout and not logged:
                log.error(
                    "the event loop has been blocked for %.0f s; no call is answered:\n%s",
                    seconds, self._stack(),
                )  # fmt: skip
            logged = seconds >= self._stall_timeout
            if seconds > 0 and seconds >= self._run_timeout:
                log.critical("the event loop is still blocked: the process ends")
                flush()
                os._exit(EXIT_CODE)

    def _stack(self) -> str:
        # A `SharedEventLoop` tells which of its threads runs callbacks.
        thread = getattr(self._loop, "running_thread", self._loop_thread)
        frame = sys._current_frames().get(thread)  # noqa: SLF001  (its documented name)
        return "".join(traceback.format_stack(frame)) if frame else "its thread has ended"


async def wait_or_timeout(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event, at most `seconds`. Return whether it is set."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    return event.is_set()


class Progress:
    """Compares what each check sees with the check before.

    Checks are counted instead of time, because a process that was stopped (by a signal, or with its
    machine) has not been hanging for as long as the clock says.
    """

    def __init__(self) -> None:
        self._seen: dict[Hashable, tuple[object, int]] = {}

    def check(self, progress: Mapping[_Subject, object]) -> dict[_Subject, int]:
        """Do one check.

        Args:
            progress: the subjects, each with a value that changes when there is progress.

        Returns:
            For each subject, how many checks in a row have seen the same value since the first one.
        """
        unchanged = {}
        for subject, value in progress.items():
            last, checks = self._seen.get(subject, (None, 0))
            unchanged[subject] = checks + 1 if subject in self._seen and last == value else 0
        self._seen = {subject: (progress[subject], checks) for subject, checks in unchanged.items()}
        return unchanged
