"""The threads that work for models, with the start of their present work, for detecting hangs.

A thread that hangs cannot be stopped from inside its process. Therefore these are daemon threads,
which Python does not join at exit. The watchdog checks threads instead of engines, because the
engine of a thread may have been replaced.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from typing import Any, Literal, TypeAlias, TypeVar

WorkKind = Literal["run", "tokenize", "load", "score"]
"""The kind of work of a worker."""
_Result = TypeVar("_Result")
_Job: TypeAlias = "tuple[Future[Any], Callable[[], Any]] | None"
"""A function and the future for its result; None ends the thread."""

_THREADS: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


class Worker:
    """The state of one thread: the model that it works for, and since when it is busy."""

    def __init__(self, model: str, kind: WorkKind) -> None:
        self.model = model
        self.kind = kind
        self.busy_since: float | None = None
        """Start of its present work, in seconds of the owner's clock; None while it waits for
        work."""
        self.stalled = False
        """Whether the watchdog found that the present work takes longer than it should."""

    @property
    def hangs(self) -> bool:
        """Whether the worker is still busy with work that takes longer than it should."""
        return self.stalled and self.busy_since is not None


class Workers:
    """All workers of a process. The workers of a deleted owner stay as long as they are busy."""

    def __init__(self) -> None:
        self._groups: list[tuple[weakref.ref[object], tuple[Worker, ...]]] = []

    def add(self, owner: object, workers: Iterable[Worker]) -> None:
        """Add the workers of an engine or another owner. The owner is not kept alive."""
        present = [one for one in self._groups if _counts(*one)]
        self._groups = [*present, (weakref.ref(owner), tuple(workers))]

    def all(self) -> list[Worker]:
        """Return every worker that has an owner or is busy. May be called on any thread."""
        return [one for owner, group in self._groups if _counts(owner, group) for one in group]

    def hanging(self) -> list[Worker]:
        """Return the workers whose work takes longer than it should."""
        return [one for one in self.all() if one.hangs]


def _counts(owner: weakref.ref[object], workers: Iterable[Worker]) -> bool:
    return owner() is not None or any(one.busy_since is not None for one in workers)


class WorkerThread(Executor):
    """An executor with one daemon thread, which exposes the start of its present work.

    `concurrent.futures.ThreadPoolExecutor` joins its threads when Python exits, even if they hang.
    """

    def __init__(
        self, name: str, worker: Worker, *, start: Callable[[], None] | None = None
    ) -> None:
        """Create an executor. Its thread starts with the first work.

        Args:
            name: name of the thread.
            worker: the state of the thread.
            start: called first on the thread.
        """
        self.worker = worker
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        # The thread has no reference to this object, so that the last other reference frees it.
        self._thread = daemon(_serve, self._jobs, worker, start, name=name)
        self._starting = threading.Lock()
        self._closed = False

    def submit(self, fn: Callable[..., _Result], /, *args: Any, **kwargs: Any) -> Future[_Result]:
        """Queue work behind earlier work.

        Raises:
            RuntimeError: the executor has been shut down.
        """
        future: Future[_Result] = Future()
        with self._starting:
            if self._closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._jobs.put((future, lambda: fn(*args, **kwargs)))
            if not self._thread.ident:
                self._thread.start()
        return future

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = True) -> None:  # noqa: FBT001, FBT002  (the base's signature)
        """Cancel queued work and let the thread end. Does not wait for the thread."""
        del wait, cancel_futures
        with self._starting:
            self._closed = True
            while not self._jobs.empty():
                job = self._jobs.get()
                if job is not None:
                    job[0].cancel()
            self._jobs.put(None)


def daemon(target: Callable[..., None], *arguments: object, name: str) -> threading.Thread:
    """Create a daemon thread that `join_all` knows. Python does not wait for it at exit."""
    thread = threading.Thread(target=target, args=arguments, name=name, daemon=True)
    _THREADS.add(thread)
    return thread


def join_all(seconds: float) -> bool:
    """Wait for the threads of `daemon`, at most `seconds` in all. Return whether all have ended."""
    end = time.monotonic() + seconds
    threads = [thread for thread in list(_THREADS) if thread.is_alive()]
    for thread in threads:
        thread.join(max(end - time.monotonic(), 0))
    return not any(thread.is_alive() for thread in threads)


def _serve(jobs: SimpleQueue[_Job], worker: Worker, start: Callable[[], None] | None) -> None:
    if start is not None:
        start()
    while _do(jobs.get(), worker):
        pass


def _do(job: _Job, worker: Worker) -> bool:
    """Do one piece of work; False for the last one. Keeps no reference to it or to its result."""
    if job is None:
        return False
    future, work = job
    del job
    if not future.set_running_or_notify_cancel():
        return True
    worker.busy_since = time.monotonic()
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001  (whoever waits for the result gets it)
        worker.busy_since = None
        future.set_exception(error)
    else:
        worker.busy_since = None
        future.set_result(result)
    finally:
        # An error's traceback refers to this frame, so this frame must not refer to the error.
        del future, work
    return True
