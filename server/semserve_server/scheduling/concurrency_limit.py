"""Limits the runs that are active at the same time, and divides them among the models.

A model without an active run may always start one, so load on other models never makes it wait. The
operating system then divides the CPUs among one run too many for a while. Further runs start only
while fewer than `runs` are active in all, and the model with the fewest active runs is next. So
with N runs and k models that always have work, each model has at least N // k active runs, and at
least one. A model that is alone can use all of them.
"""

from __future__ import annotations

import threading


class ConcurrencyLimit:
    """The active runs of all models of a process. Thread-safe."""

    def __init__(self, runs: int) -> None:
        """Create a limit.

        Args:
            runs: number of simultaneous runs with the highest throughput; at least one.
        """
        self._runs = runs
        self._changed = threading.Condition()
        self._running = 0
        self._turns = 0
        self.waiting: list[ModelShare] = []

    def __repr__(self) -> str:
        return f"<ConcurrencyLimit {self._running} of {self._runs} runs, {len(self.waiting)} wait>"

    @property
    def begun(self) -> int:
        """Number of runs that have started since the server started."""
        return self._turns

    def share(self) -> ModelShare:
        """Create the share of one model."""
        return ModelShare(self)

    def begin(self, share: ModelShare) -> bool:
        """Wait until a run of this share may start. Return whether no other run is active."""
        with self._changed:
            if not self.may_begin(share):
                self.waiting.append(share)
                self._changed.wait_for(lambda: self.may_begin(share))
                self.waiting.remove(share)
            self._count(share)
            if self.waiting:  # another share may fit that was behind this one
                self._changed.notify_all()
            return self._running == 1

    def begin_alone(self, share: ModelShare) -> bool:
        """Start a run of this share if no other run is active or waits. Return whether it did."""
        with self._changed:
            if self._running or self.waiting:
                return False
            self._count(share)
            return True

    def end(self, share: ModelShare) -> None:
        """Note the end of a run, and wake the waiting threads."""
        with self._changed:
            share.running -= 1
            self._running -= 1
            if self.waiting:
                self._changed.notify_all()

    def _count(self, share: ModelShare) -> None:
        self._turns += 1
        share.turn = self._turns
        share.running += 1
        self._running += 1

    def may_begin(self, share: ModelShare) -> bool:
        """Return whether a run of this share may start now."""
        if not share.running:
            return True
        if self._running >= self._runs:
            return False
        first = min(self.waiting, key=ModelShare.order, default=share)
        return share.order() <= first.order()


class ModelShare:
    """The part of one model in the active runs."""

    __slots__ = ("_limit", "running", "turn")

    def __init__(self, limit: ConcurrencyLimit) -> None:
        self._limit = limit
        self.running = 0
        """Active runs of the model."""
        self.turn = 0
        """Number of the model's latest run, in the count of all runs."""

    def order(self) -> tuple[int, int]:
        """Sort key of the waiting models: fewest active runs, then longest time since a run."""
        return self.running, self.turn

    def begin(self) -> bool:
        """Wait until a run may start. Return whether no other run is active."""
        return self._limit.begin(self)

    def begin_alone(self) -> bool:
        """Start a run if no other run is active or waits. Return whether it did."""
        return self._limit.begin_alone(self)

    def end(self) -> None:
        """Note the end of a run."""
        self._limit.end(self)
