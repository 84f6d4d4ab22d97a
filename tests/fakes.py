"""Stand-ins for a session: real runs that can be held, watched or made to fail."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from semserve_server.runtime.encoding import Encoding
from semserve_server.runtime.runner import Runner


class Held:
    """A runner whose runs wait until they are let through."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        """What runs what is let through."""
        self._changed = threading.Condition()
        self._passes = float("inf")
        self._entered = threading.Semaphore(0)
        self.batches: list[list[Encoding]] = []
        self.exclusive: list[bool] = []
        self.threads: list[str] = []
        """Name of the thread of each run."""

    def hold(self) -> None:
        """Let no run through."""
        self._passes = 0

    def release(self, runs: float = float("inf")) -> None:
        """Let so many runs through; all where not said."""
        with self._changed:
            self._passes += runs
            self._changed.notify_all()

    def wait_for_run(self) -> None:
        """Wait until a run has begun that no earlier call has waited for."""
        if not self._entered.acquire(timeout=30):
            raise TimeoutError("no run began within 30 s")

    def run(self, encodings: Sequence[Encoding], *, exclusive: bool = False) -> NDArray[np.float32]:
        """Note the batch, wait to be let through, run."""
        self.batches.append(list(encodings))
        self.exclusive.append(exclusive)
        self.threads.append(threading.current_thread().name)
        self._entered.release()
        with self._changed:
            if not self._changed.wait_for(lambda: self._passes > 0, timeout=60):
                raise TimeoutError("held for over 60 s")
            self._passes -= 1
        return self.runner.run(encodings, exclusive=exclusive)


class Lengths:
    """Answers each encoding with its first token id and its length, so that a mix-up shows."""

    def run(self, encodings: Sequence[Encoding], *, exclusive: bool = False) -> NDArray[np.float32]:
        """Return float32 [encodings, 2]."""
        del exclusive
        return np.array([[one.token_ids[0], len(one)] for one in encodings], np.float32)


class Failing:
    """Fails every run."""

    def run(self, encodings: Sequence[Encoding], *, exclusive: bool = False) -> NDArray[np.float32]:
        """Raise."""
        raise RuntimeError(f"secret cause, {len(encodings)} encodings, {exclusive=}")


class Deadly:
    """Ends the thread of the batch worker that runs it: what it raises is no `Exception`."""

    def run(self, encodings: Sequence[Encoding], *, exclusive: bool = False) -> NDArray[np.float32]:
        """Raise."""
        raise SystemExit(f"{len(encodings)} encodings, {exclusive=}")


class Giving:
    """Gives the same thing for every run, whatever was call."""

    def __init__(self, given: Any) -> None:
        self._given = given

    def run(self, encodings: Sequence[Encoding], *, exclusive: bool = False) -> Any:
        """Return what it was made with."""
        del encodings, exclusive
        return self._given


class Unreadable(np.ndarray):
    """Rows that look right until somebody takes one."""

    def __iter__(self) -> NoReturn:
        """Raise."""
        raise MemoryError("secret cause")


class Poisoned:
    """Fails every run that has a certain token in a certain place, or gives it no good row."""

    def __init__(
        self,
        runner: Runner,
        *,
        raises: Collection[int] = (),
        breaks: Collection[int] = (),
        token: int = 0,
    ) -> None:
        self._runner = runner
        self._token = token
        self._raises = raises
        self._breaks = breaks
        self.runs = 0

    def run(self, encodings: Sequence[Encoding], *, exclusive: bool = False) -> NDArray[np.float32]:
        """Raise, or run and spoil the rows of those that break."""
        self.runs += 1
        if any(one.token_ids[self._token] in self._raises for one in encodings):
            raise RuntimeError("secret cause")
        rows = self._runner.run(encodings, exclusive=exclusive)
        bad = [one.token_ids[self._token] in self._breaks for one in encodings]
        rows[bad, -1] = np.nan
        return rows
