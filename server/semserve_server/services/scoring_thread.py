"""The one thread that computes scores, and who may wait for it.

Scores are computed in pieces. After some milliseconds of them a request goes to the end of the
thread's queue, so requests take turns, and a request whose caller has left or whose deadline has
passed stops there. The thread has the niceness of a worker: it must not take
a CPU from the event loop or go before inference.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from semserve_server.errors import DeadlineExceeded, Draining, Overloaded
from semserve_server.runtime.worker_threads import Worker, WorkerThread
from semserve_server.scheduling.worker import lower_priority

INLINE_OPERATIONS = 131_072
"""A request of at most so many operations is computed on the event loop: it takes about 0.2 ms,
which is what handing it to a thread and back takes."""
TURN_SECONDS = 0.01
"""How long a request computes before it is another's turn; a piece that runs is not cut short. Each
turn costs the event loop about 0.1 ms."""
SECONDS_PER_OPERATION = 2e-9
"""What an operation is taken to cost before any has been measured."""
FORGETTING_FACTOR = 0.9
"""What the cost that was measured so far still weighs after one more piece."""


class ScoringThread:
    """A bounded queue of scores and the thread that computes them. Used on the event loop alone.

    An operation is one number of one vector that takes part in one score: scores x dimensions.
    """

    def __init__(
        self,
        *,
        max_waiting: int,
        turn: float = TURN_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make a scorer; its thread starts with the first work.

        Args:
            max_waiting: most scores that have room at a time.
            turn: seconds after which it is the turn of another request.
            clock: in seconds.
        """
        self.max_waiting = max_waiting
        self.waiting = 0
        """Scores that have room: that wait for their vectors or the thread, or are computed."""
        self._turn = turn
        self._clock = clock
        self._operations = 0
        self._seconds_per_operation = SECONDS_PER_OPERATION
        self.worker = Worker("SimilarityService", "score")
        """The thread, as the watchdog sees it."""
        self._thread = WorkerThread("scores", self.worker, start=lower_priority)

    def __repr__(self) -> str:
        return f"<ScoringThread {self.waiting} of {self.max_waiting} scores>"

    @contextmanager
    def room(self, scores: int, operations: int, *, seconds: float | None) -> Iterator[None]:
        """Hold room for scores, from before anything is done for them until they are computed.

        Args:
            scores: how many.
            operations: scores x dimensions.
            seconds: until the caller's deadline; None without one.

        Raises:
            Overloaded: there is no room, or they would come too late; with the seconds after which
                they should fit.
        """
        ahead = self._operations * self._seconds_per_operation
        if self.waiting and self.waiting + scores > self.max_waiting:
            raise Overloaded(
                f"{self.waiting} of at most {self.max_waiting} scores wait to be computed "
                f"and there is no room for {scores} more",
                retry_after=ahead / 2,
                cause="queue_scores",
            )
        predicted = ahead + operations * self._seconds_per_operation
        if ahead and seconds is not None and predicted > seconds:
            raise Overloaded(
                f"the scores would take {predicted:.3f} s and the deadline is in {seconds:.3f} s",
                retry_after=min(predicted - seconds, ahead),
                cause="deadline",
            )
        self.waiting += scores
        try:
            yield
        finally:
            self.waiting -= scores

    async def compute(
        self, pieces: Iterator[bytes], *, operations: int, seconds: float | None
    ) -> bytes:
        """Compute an answer that has room, piece by piece, and return all of its bytes.

        Args:
            pieces: computes the next piece each time that it is asked.
            operations: scores x dimensions.
            seconds: until the caller's deadline; None without one.

        Raises:
            DeadlineExceeded: the deadline passed before the last piece.
            Draining: the scorer is closed.
        """
        if operations <= INLINE_OPERATIONS:
            return b"".join(pieces)
        deadline = float("inf") if seconds is None else self._clock() + seconds
        job = _Job(pieces, self._turn, self._clock)
        self._operations += operations
        try:
            while job.answer is None:
                if self._clock() >= deadline:
                    raise DeadlineExceeded("the deadline passed while scores were computed")
                await self._on_the_thread(job)
        finally:
            self._operations -= operations
        measured = job.seconds / operations
        self._seconds_per_operation += (1 - FORGETTING_FACTOR) * (
            measured - self._seconds_per_operation
        )
        return job.answer

    async def _on_the_thread(self, job: _Job) -> None:
        try:
            future = self._thread.submit(job.step)
        except RuntimeError as error:  # the thread has ended
            raise Draining("the server is stopping") from error
        await asyncio.wrap_future(future)

    def close(self) -> None:
        """Let the thread end after the piece that runs."""
        self._thread.shutdown()


class _Job:
    """The pieces of one answer. Only the thread calls `step`, one call at a time."""

    def __init__(self, pieces: Iterator[bytes], turn: float, clock: Callable[[], float]) -> None:
        self._pieces = pieces
        self._turn = turn
        self._clock = clock
        self._done: list[bytes] = []
        self.answer: bytes | None = None
        """All pieces, once the last one is there."""
        self.seconds = 0.0
        """What the pieces took."""

    def step(self) -> None:
        """Compute pieces for one turn, and put all of them together after the last one."""
        started = self._clock()
        taken = 0.0
        while self.answer is None:
            piece = next(self._pieces, None)
            if piece is None:
                self.answer = b"".join(self._done)
            else:
                self._done.append(piece)
            taken = self._clock() - started
            if taken >= self._turn:
                break
        self.seconds += taken
