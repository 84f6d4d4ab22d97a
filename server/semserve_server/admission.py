"""Who may wait: what the queue cannot hold, or what would come too late, is refused. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from semserve_server.cost import CostModel
from semserve_server.errors import InvalidRequest, Overloaded

WAIT_MARGIN = 2.0
"""How much longer than predicted a request may wait. Its entries are passed over by others that
make better batches, and its answer waits for the last of them: with 1.2, three times the load that
fits filled the queue with requests that were admitted, half computed, and too late."""
RUN_MARGIN = 1.2
"""How much longer than predicted its own runs may take: padding, neighbours, the way back."""


@dataclass(frozen=True, slots=True)
class Demand:
    """Some entries, by number and by length."""

    entries: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Admission:
    """The rule of one model's door."""

    cost: CostModel
    lanes: int
    max_batch_tokens: int
    max_entries: int
    """Most entries that wait."""
    max_tokens: int
    """Most tokens that wait, but for a request that has more by itself and waits alone."""

    def check(self, new: Demand, waiting: Demand, running_tokens: int, seconds: float) -> None:
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
        ahead = self._seconds(waiting.tokens + running_tokens) / self.lanes
        if waiting.entries + new.entries > self.max_entries:
            raise Overloaded(
                f"the queue holds {waiting.entries} of at most {self.max_entries} texts "
                f"and cannot take {new.entries} more",
                retry_after=ahead / 2,
                cause="queue_entries",
            )
        if waiting.tokens and waiting.tokens + new.tokens > self.max_tokens:
            raise Overloaded(
                f"the queue holds {waiting.tokens} of at most {self.max_tokens} tokens "
                f"and cannot take {new.tokens} more",
                retry_after=ahead / 2,
                cause="queue_tokens",
            )
        if not waiting.entries and not running_tokens:
            return  # An idle machine always tries, or a cost once wrong would never be corrected.
        own = self._seconds(new.tokens) / min(self.lanes, new.entries)
        predicted = WAIT_MARGIN * ahead + RUN_MARGIN * own
        if predicted > seconds:
            raise Overloaded(
                f"the answer would take {predicted:.3f} s and the deadline is in "
                f"{max(seconds, 0.0):.3f} s",
                retry_after=min(predicted - seconds, ahead),
                cause="deadline",
            )

    def _seconds(self, tokens: int) -> float:
        """Predict how long one lane takes for so many tokens, in batches of the budget."""
        return self.cost.seconds(tokens, runs=tokens / self.max_batch_tokens)
