"""Who may wait: what the queue cannot hold, or what would come too late, is refused. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from semserve_server.errors import InvalidRequest, Overloaded
from semserve_server.scheduling.cost_model import CostModel

WAIT_MARGIN = 2.0
"""How much longer than predicted a request may wait. Its entries are passed over by others that
make better batches, and its answer waits for the last of them: with 1.2, three times the load that
fits filled the queue with requests that were admitted, half computed, and too late."""
RUN_MARGIN = 1.2
"""How much longer than predicted its own runs may take: padding, neighbours, the way back."""
MOST_OF_THE_REST = 8
"""How many times what is free of the queue a caller that has something there may have, its new
request included. So a caller alone fills eight ninths of the queue with many requests, and two fill
eight seventeenths each: the last room is for callers that have nothing waiting. This is the dynamic
threshold of shared-memory switches (Choudhury and Hahne, 1998)."""


@dataclass(frozen=True, slots=True)
class Demand:
    """Some entries, by number and by length."""

    entries: int
    tokens: int


NOTHING = Demand(0, 0)


@dataclass(frozen=True, slots=True)
class Backlog(Demand):
    """What is queued already, as a caller finds it that asks for more."""

    own: Demand = NOTHING
    """What of it is the caller's."""
    others: int | None = None
    """How many other callers have entries in it. None where callers are not told apart: all that
    is queued then runs first."""

    def ahead(self, tokens: int) -> int:
        """Return the most tokens that run before so many new ones of the caller have run.

        Callers are served in turns. Until the caller's last token runs, no other is given more
        tokens than it, so each other has at most as many ahead as the caller has in all.
        """
        if self.others is None:
            return self.tokens
        whole = self.own.tokens + tokens
        return self.own.tokens + min(self.tokens - self.own.tokens, self.others * whole)


@dataclass(frozen=True, slots=True)
class Admission:
    """Decides which requests one model's queue takes."""

    cost: CostModel
    lanes: int
    max_batch_tokens: int
    max_entries: int
    """Most entries that wait."""
    max_tokens: int
    """Most tokens that wait, but for a request that has more by itself and waits alone."""

    def check(self, new: Demand, waiting: Backlog, running_tokens: int, seconds: float) -> None:
        """Admit a request, or refuse it whole.

        Args:
            new: what asks to be admitted.
            waiting: what is queued already.
            running_tokens: of the runs that have not ended, with what their padding counts for.
            seconds: until the request's deadline.

        Raises:
            InvalidRequest: the queue could never hold it.
            Overloaded: with the seconds after which it should fit.
        """
        if new.entries > self.max_entries:
            raise InvalidRequest.of(
                "", f"{new.entries} texts, and the queue holds at most {self.max_entries}"
            )
        queued = self._seconds(waiting.tokens + running_tokens) / self.lanes
        if waiting.entries + new.entries > self.max_entries:
            raise Overloaded(
                f"the queue holds {waiting.entries} of at most {self.max_entries} texts "
                f"and cannot take {new.entries} more",
                retry_after=queued / 2,
                cause="queue_entries",
            )
        if waiting.tokens and waiting.tokens + new.tokens > self.max_tokens:
            raise Overloaded(
                f"the queue holds {waiting.tokens} of at most {self.max_tokens} tokens "
                f"and cannot take {new.tokens} more",
                retry_after=queued / 2,
                cause="queue_tokens",
            )
        self._leave_room(new, waiting, queued)
        if not waiting.entries and not running_tokens:
            return  # An idle machine always tries, or a cost once wrong would never be corrected.
        ahead_tokens = waiting.ahead(new.tokens)
        ahead = self._seconds(ahead_tokens + running_tokens) / self.lanes
        # Its batch is filled with what others have queued behind it.
        beside = min(waiting.tokens - ahead_tokens, self.max_batch_tokens - new.tokens)
        own = self._seconds(new.tokens + max(beside, 0)) / min(self.lanes, new.entries)
        predicted = WAIT_MARGIN * ahead + RUN_MARGIN * own
        if predicted > seconds:
            raise Overloaded(
                f"the answer would take {predicted:.3f} s and the deadline is in "
                f"{max(seconds, 0.0):.3f} s",
                retry_after=min(predicted - seconds, ahead),
                cause="deadline",
            )

    def _leave_room(self, new: Demand, waiting: Backlog, seconds: float) -> None:
        """Refuse more of a caller that fills the queue by itself; the last room is for others.

        Raises:
            Overloaded: its texts or tokens would be over `MOST_OF_THE_REST` times what is free.
        """
        own, free = waiting.own, self.max_entries - waiting.entries
        if own.entries and own.entries + new.entries > MOST_OF_THE_REST * free:
            raise Overloaded(
                f"the queue holds {waiting.entries} of at most {self.max_entries} texts, "
                f"{own.entries} of them this caller's: the rest is kept for other callers",
                retry_after=seconds / 2,
                cause="queue_entries",
            )
        free = self.max_tokens - waiting.tokens
        if own.entries and own.tokens + new.tokens > MOST_OF_THE_REST * free:
            raise Overloaded(
                f"the queue holds {waiting.tokens} of at most {self.max_tokens} tokens, "
                f"{own.tokens} of them this caller's: the rest is kept for other callers",
                retry_after=seconds / 2,
                cause="queue_tokens",
            )

    def _seconds(self, tokens: int) -> float:
        """Predict how long one lane takes for so many tokens, in batches of the budget."""
        return self.cost.seconds(tokens, runs=tokens / self.max_batch_tokens)
