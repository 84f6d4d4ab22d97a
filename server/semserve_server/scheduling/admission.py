"""Admission control: decides whether a queue takes a request. Pure.

A request is refused if the queue cannot hold it, or if its results would miss its deadline.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from semserve_server.errors import InvalidRequest, Overloaded
from semserve_server.scheduling.cost_model import CostModel

WAIT_MARGIN = 2.0
"""Safety factor on the predicted wait in the queue. Other entries that make better batches
overtake the entries of a request, and a request waits for its last entry. With 1.2, three times
the load that fits filled the queue with requests that were half computed when their deadline
passed."""
RUN_MARGIN = 1.2
"""Safety factor on the predicted time of the request's own runs: padding, other entries in the
batch, and the way back."""
DYNAMIC_THRESHOLD = 8
"""A caller that has entries in the queue may hold at most this many times the free space, its
new request included. One caller alone can thus fill 8/9 of the queue with many requests, and two
callers 8/17 each. The rest is kept for callers that have no entries in the queue. This is the
dynamic threshold of shared-memory switches (Choudhury and Hahne, 1998)."""

SPREAD = 4
"""Turns are this many times longer than the model needs for a request. With 1, callers that obey
are still refused about once for each answer."""
MAX_PUSHBACK_SECONDS = 1.0
"""Longest delay, however many callers return too early."""
FORGETTING_FACTOR = 0.99
"""Weight of an admitted request after the next one: about the last hundred decide."""


class QueueLoad(NamedTuple):
    """A number of entries, and the number of their tokens."""

    entries: int
    tokens: int


NO_LOAD = QueueLoad(0, 0)


@dataclass(slots=True)
class Backlog:
    """What is in the queue already, from the point of view of one caller."""

    entries: int
    tokens: int
    caller_load: QueueLoad = NO_LOAD
    """The caller's part of it."""
    other_callers: int | None = None
    """Number of other callers with entries in the queue. None if callers are not told apart;
    then everything in the queue runs first."""

    def ahead(self, tokens: int) -> int:
        """Return the most tokens that can run before `tokens` new ones of this caller have run.

        Callers are served in turns. Until the last token of this caller has run, no other caller
        gets more tokens than this one. So each other caller has at most as many tokens ahead as
        this caller has in all.
        """
        if self.other_callers is None:
            return self.tokens
        present = self.caller_load.tokens
        most_of_others = self.other_callers * (present + tokens)
        return present + min(self.tokens - present, most_of_others)


@dataclass(frozen=True, slots=True)
class Admission:
    """Decides which requests the queue of one model takes."""

    cost: CostModel
    workers: int
    max_batch_tokens: int
    max_entries: int
    """Most entries in the queue."""
    max_tokens: int
    """Most tokens in the queue. One larger request may wait if the queue is otherwise empty."""

    def check(self, new: QueueLoad, waiting: Backlog, running_tokens: int, seconds: float) -> None:
        """Admit a request, or refuse all of it.

        Args:
            new: size of the request.
            waiting: what is in the queue already.
            running_tokens: effective tokens of the runs that have not ended (padding at its cost).
            seconds: time until the request's deadline.

        Raises:
            InvalidRequest: the request has more entries than the queue can ever hold.
            Overloaded: the request does not fit now; has the seconds after which it should fit.
        """
        if new.entries > self.max_entries:
            raise InvalidRequest.of(
                "", f"{new.entries} texts, and the queue holds at most {self.max_entries}"
            )
        if not waiting.entries and not running_tokens:
            return  # An idle model always admits, so that a wrong cost model can correct itself.
        if waiting.entries + new.entries > self.max_entries:
            raise Overloaded(
                f"the queue holds {waiting.entries} of at most {self.max_entries} texts "
                f"and cannot take {new.entries} more",
                retry_after=self.seconds(waiting.tokens + running_tokens) / 2,
                cause="queue_entries",
            )
        if waiting.tokens and waiting.tokens + new.tokens > self.max_tokens:
            raise Overloaded(
                f"the queue holds {waiting.tokens} of at most {self.max_tokens} tokens "
                f"and cannot take {new.tokens} more",
                retry_after=self.seconds(waiting.tokens + running_tokens) / 2,
                cause="queue_tokens",
            )
        if waiting.caller_load.entries:
            self._check_dynamic_threshold(new, waiting, running_tokens)
        ahead_tokens = waiting.ahead(new.tokens)
        ahead = self.seconds(ahead_tokens + running_tokens)
        # The batches of this request also contain entries that other callers queued behind it.
        beside = min(waiting.tokens - ahead_tokens, self.max_batch_tokens - new.tokens)
        run_seconds = self._seconds(new.tokens + max(beside, 0)) / min(self.workers, new.entries)
        predicted = WAIT_MARGIN * ahead + RUN_MARGIN * run_seconds
        if predicted > seconds:
            raise Overloaded(
                f"the answer would take {predicted:.2f} s and the deadline is in "
                f"{max(seconds, 0.0):.2f} s",
                retry_after=min(predicted - seconds, ahead),
                cause="deadline",
            )

    def _check_dynamic_threshold(
        self, new: QueueLoad, waiting: Backlog, running_tokens: int
    ) -> None:
        """Refuse more entries of a caller that already fills the queue.

        The rest of the queue is for other callers.

        Raises:
            Overloaded: the caller's texts or tokens would exceed `DYNAMIC_THRESHOLD` times the free
                space.
        """
        load, free = waiting.caller_load, self.max_entries - waiting.entries
        if load.entries + new.entries > DYNAMIC_THRESHOLD * free:
            raise Overloaded(
                f"the queue holds {waiting.entries} of at most {self.max_entries} texts, "
                f"{load.entries} of them this caller's: the rest is kept for other callers",
                retry_after=self.seconds(waiting.tokens + running_tokens) / 2,
                cause="queue_entries",
            )
        free = self.max_tokens - waiting.tokens
        if load.tokens + new.tokens > DYNAMIC_THRESHOLD * free:
            raise Overloaded(
                f"the queue holds {waiting.tokens} of at most {self.max_tokens} tokens, "
                f"{load.tokens} of them this caller's: the rest is kept for other callers",
                retry_after=self.seconds(waiting.tokens + running_tokens) / 2,
                cause="queue_tokens",
            )

    def seconds(self, tokens: int) -> float:
        """Predict how long the workers take together for `tokens`."""
        return self._seconds(tokens) / self.workers

    def _seconds(self, tokens: int) -> float:
        """Predict how long one worker takes for `tokens`, in batches of the largest size."""
        return self.cost.seconds(tokens, runs=tokens / self.max_batch_tokens)


class Pushback:
    """After what delay refused callers of one model should return: in turns.

    If every refused caller returned when the queue has room for one request, all but one would be
    refused again, and refusals would take the CPU from the runs.
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        self._next = 0.0

    def admitted(self, seconds: float) -> None:
        """Learn how long the runs of a request take."""
        self._seconds += (1 - FORGETTING_FACTOR) * (seconds - self._seconds)

    def refused(self, now: float, least: float) -> float:
        """Give a refused caller a turn, and return the delay until then in seconds.

        Args:
            now: instant, in seconds of any clock.
            least: seconds after which the queue should have room for the request.
        """
        turn = max(self._next, now) + SPREAD * self._seconds
        self._next = min(turn, now + MAX_PUSHBACK_SECONDS)
        return max(least, self._next - now)
