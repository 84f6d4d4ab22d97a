"""A batch worker: a thread that runs the batches of one model, one after another."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable

from semserve_server.runtime.worker_threads import Worker, daemon

NICENESS = 10
"""Niceness added to the threads that run batches. Admission, refusals and replies are a tenth of
the work and must come first, or requests expire before the server looks at them: at three times
the load that fits, the goodput was 0.12 of its peak without this and 0.37 with it."""


class BatchWorker(Worker):
    """A thread that runs batches, of low priority by default. The batcher starts it."""

    def __init__(
        self,
        model: str,
        number: int,
        serve: Callable[[BatchWorker], None],
        *,
        background: bool = True,
    ) -> None:
        """Create the thread.

        Args:
            model: name of the model.
            number: index among the workers of the model.
            serve: the function of the thread, called with this worker. The thread ends when it
                returns.
            background: whether the thread has a low priority. On a GPU, a run takes hardly any
                CPU time, and the GPU must not wait for it.
        """
        super().__init__(model, "run")
        self._background = background
        self.free_since = 0.0
        """End of its latest run, in seconds of the batcher's clock."""
        self.thread = daemon(self._serve, serve, name=f"{model}-worker-{number}")

    def _serve(self, serve: Callable[[BatchWorker], None]) -> None:
        if self._background:
            lower_priority()
        serve(self)


def active_runs(workers: Iterable[BatchWorker]) -> dict[str, float]:
    """Return the start of each active run, in seconds of the batcher's clock, by its worker."""
    return {
        worker.thread.name: since for worker in workers if (since := worker.busy_since) is not None
    }


def lower_priority() -> None:
    """Raise the niceness of the present thread. Only Linux has a niceness for each thread."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        niceness = os.getpriority(os.PRIO_PROCESS, thread) + NICENESS
        os.setpriority(os.PRIO_PROCESS, thread, min(niceness, 19))
