"""The thread that computes scores, and its queue.

Scores are computed in pieces. After some milliseconds a request goes to the end of the queue, so
requests take turns. A request whose caller has cancelled or whose deadline has passed stops there.
The thread has the niceness of a batch worker: it must not take CPU time from the event loop or
precede inference.
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
"""A request with at most this many operations is computed on the event loop: that takes about
0.2 ms, as long as handing it to a thread and back."""
TURN_SECONDS = 0.01
"""Seconds of a request's turn. A piece in progress is not interrupted. Each turn costs the event
loop about 0.1 ms."""
SECONDS_PER_OPERATION = 2e-9
"""Assumed cost of an operation before the first measurement."""
FORGETTING_FACTOR = 0.9
"""Weight of the measured cost after the next measurement."""


class ScoringThread:
    """A bounded queue of scores, and the thread that computes them. Used only on the event loop.

    An operation is one number of a vector in one score: scores x dimensions.
    """

    def __init__(
        self,
        *,
        max_waiting: int,
        turn: float = TURN_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create a scoring thread. It starts with the first work.

        Args:
            max_waiting: most scores in the queue.
            turn: seconds of a turn.
            clock: in seconds.
        """
        self.max_waiting = max_waiting
        self.waiting = 0
        """Scores in the queue: those that wait for vectors or for the thread, and those in
        progress."""
        self._turn = turn
        self._clock = clock
        self._operations = 0
        self._seconds_per_operation = SECONDS_PER_OPERATION
        self.worker = Worker("SimilarityService", "score")
        """The state of the thread, for the watchdog."""
        self._thread = WorkerThread("scores", self.worker, start=lower_priority)

    def __repr__(self) -> str:
        return f"<ScoringThread {self.waiting} of {self.max_waiting} scores>"

    @contextmanager
    def room(self, scores: int, operations: int, *, seconds: float | None) -> Iterator[None]:
        """Reserve room in the queue, from before the inference until the scores are computed.

        Args:
            scores: number of scores.
            operations: scores x dimensions.
            seconds: until the caller's deadline; None without a deadline.

        Raises:
            Overloaded: there is no room, or the scores would miss the deadline; has the seconds
                after which they should fit.
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
        """Compute a reply that has room, piece by piece, and return all of its bytes.

        Args:
            pieces: computes one piece for each iteration.
            operations: scores x dimensions.
            seconds: until the caller's deadline; None without a deadline.

        Raises:
            DeadlineExceeded: the deadline passed before the last piece.
            Draining: the thread has ended.
        """
        if operations <= INLINE_OPERATIONS:
            return b"".join(pieces)
        deadline = float("inf") if seconds is None else self._clock() + seconds
        job = _Job(pieces, self._turn, self._clock)
        self._operations += operations
        try:
            while job.answer is None:
                if self._clock() >= deadline:
                    raise DeadlineExceeded("the deadline passed before the scores were computed")
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
        """Let the thread end after the present piece."""
        self._thread.shutdown()


class _Job:
    """The pieces of one reply. Only the thread calls `step`, one call at a time."""

    def __init__(self, pieces: Iterator[bytes], turn: float, clock: Callable[[], float]) -> None:
        self._pieces = pieces
        self._turn = turn
        self._clock = clock
        self._done: list[bytes] = []
        self.answer: bytes | None = None
        """All pieces, after the last one was computed."""
        self.seconds = 0.0
        """Time of the pieces."""

    def step(self) -> None:
        """Compute pieces for one turn. Concatenate all pieces after the last one."""
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
