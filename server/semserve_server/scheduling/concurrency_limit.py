"""Who may run when several models want the same CPUs.

A model of which nothing runs may always begin a run: nobody's flood keeps it waiting, and the
operating system divides the CPUs among the threads for as long as there is one run too many.
Further runs begin only while fewer than `runs` go on in all, and the model with the fewest has the
first turn. So of N runs, each of k models that are never out of work has N // k or more, and at
least one; and a model that is alone has all of them.
"""

from __future__ import annotations

import threading


class ConcurrencyLimit:
    """The runs of all models of a process. Its parts may be used from every thread."""

    def __init__(self, runs: int) -> None:
        """Divide so many runs.

        Args:
            runs: how many side by side compute most in a second; at least one.
        """
        self._runs = runs
        self._changed = threading.Condition()
        self._going = 0
        self._turns = 0
        self._waiting: list[ModelShare] = []

    def __repr__(self) -> str:
        return f"<ConcurrencyLimit {self._going} of {self._runs} runs, {len(self._waiting)} wait>"

    @property
    def begun(self) -> int:
        """How many runs have begun since the start."""
        return self._turns

    def share(self) -> ModelShare:
        """Make the share of one model."""
        return ModelShare(self)

    def begin(self, share: ModelShare) -> bool:
        """Wait until a run of this share may begin; tell whether it is the only one."""
        with self._changed:
            if not self._may_begin(share):
                self._waiting.append(share)
                self._changed.wait_for(lambda: self._may_begin(share))
                self._waiting.remove(share)
            self._turns += 1
            share.turn = self._turns
            share.going += 1
            self._going += 1
            if self._waiting:  # another may fit, whose turn was after this one's
                self._changed.notify_all()
            return self._going == 1

    def end(self, share: ModelShare) -> None:
        """Make room for the next run."""
        with self._changed:
            share.going -= 1
            self._going -= 1
            if self._waiting:
                self._changed.notify_all()

    def _may_begin(self, share: ModelShare) -> bool:
        if not share.going:
            return True
        if self._going >= self._runs:
            return False
        first = min(self._waiting, key=ModelShare.order, default=share)
        return share.order() <= first.order()


class ModelShare:
    """What one model has of the runs. Entered for as long as a run goes on."""

    __slots__ = ("_shares", "going", "turn")

    def __init__(self, shares: ConcurrencyLimit) -> None:
        self._shares = shares
        self.going = 0
        """Runs of the model at present."""
        self.turn = 0
        """When one of them began last, as a count of all."""

    def order(self) -> tuple[int, int]:
        """Tell whose turn comes first: the fewest runs', of like ones the longest ago."""
        return self.going, self.turn

    def begin(self) -> bool:
        """Wait until a run may begin; tell whether no other goes on."""
        return self._shares.begin(self)

    def end(self) -> None:
        """Tell that the run has ended."""
        self._shares.end(self)
