"""A lane: a thread that runs one model's batches, one after another."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable

from semserve_server.runtime.worker_threads import Worker, daemon

NICENESS = 10
"""How far runs stand back where CPUs are short. What admits, refuses and answers is a tenth of the
work and must come first, or calls grow old before anybody looks at them: at three times the load
that fits, goodput was 0.12 of its peak without it and 0.37 with it."""


class BatchWorker(Worker):
    """A thread of low priority that runs batches. It is started by its owner."""

    def __init__(self, model: str, number: int, serve: Callable[[BatchWorker], None]) -> None:
        """Make the thread.

        Args:
            model: whose batches it runs.
            number: of the model's lanes, from 0.
            serve: what the thread does, given this lane; its return ends the thread.
        """
        super().__init__(model, "run")
        self.thread = daemon(self._serve, serve, name=f"{model}-lane-{number}")

    def _serve(self, serve: Callable[[BatchWorker], None]) -> None:
        lower_priority()
        serve(self)


def lower_priority() -> None:
    """Let this thread's work wait for that of others; only Linux has niceness by thread."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        niceness = os.getpriority(os.PRIO_PROCESS, thread) + NICENESS
        os.setpriority(os.PRIO_PROCESS, thread, min(niceness, 19))
