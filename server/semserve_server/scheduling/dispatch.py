"""Decides whether a model starts another run beside its active runs. Pure.

Each run reads all weights, so two small runs at the same time take longer than one run of both
batches, and an exclusive run (one with all threads) is slowed by any other run. So if less than 25
% of a batch is queued, a worker waits for the end of the active run, and then runs everything
queued with all threads.
"""

from __future__ import annotations

from semserve_server.scheduling.cost_model import CostModel

MIN_BATCH_FILL = 0.25
"""Part of `max_batch_tokens` in the queue that is worth a run beside others. With MiniLM on two
CPUs and 2, 4, 8 and 16 callers of one text each, the p99 is 0.37, 0.80, 0.94 and 0.99 times the
p99 without this rule, and the throughput 1.05, 0.99, 0.96 and 1.00 times; with 64 callers there
is no difference. With 0.5, 16 callers lost a tenth of their throughput."""

CHEAP_SECONDS = 0.000_5
"""Longest predicted run that waits for more requests. A run of one pair through a BERT of two
layers takes half of that. With MiniLM, whose runs take 2 ms and more, waiting lowered the
throughput to 0.98 times."""

GPU_CHEAP_SECONDS = 0.004
"""The same on a GPU. Starting the kernels of a run takes about a millisecond for one text as for a
hundred, and each run takes the interpreter lock from the event loop."""

LONGEST_DELAY_SECONDS = 0.005
"""No run waits longer for more requests, even if the event loop receives them without a pause."""

MAX_INLINE_SECONDS = 0.005
"""Longest predicted run of a lone request on the event loop's thread, which answers nothing else
meanwhile. The two hand-overs to a worker and back take 0.15 ms, which such a run saves."""

MEASURED_RUNS = 16
"""So many runs of single entries in a row must have been as short before one uses that thread."""

FEW_REQUESTS = 2
"""With at most this many requests, a run does not wait for more: one of two callers is usually
reading its reply when the other sends a request, and no other caller exists."""


class Dispatch:
    """The active runs of one model, by worker. Not thread-safe: the batcher holds the lock."""

    def __init__(
        self,
        *,
        cost: CostModel,
        max_batch_tokens: int,
        exclusive: bool,
        cheap_seconds: float = CHEAP_SECONDS,
    ) -> None:
        """Create the dispatch policy of a model without active runs.

        Args:
            cost: cost of a run.
            max_batch_tokens: most effective tokens of a batch.
            exclusive: whether a run that is alone has more threads than other runs.
            cheap_seconds: longest predicted run that waits for more requests.
        """
        self._cheap_seconds = cheap_seconds
        self._cost = cost
        self._max_batch_tokens = max_batch_tokens
        self.exclusive = exclusive
        """Whether a run that is alone has more threads than other runs."""
        self._ends: dict[object, float] = {}
        self._short_runs = 0

    def begin(self, worker: object, waiting_tokens: int, now: float) -> None:
        """Note that a worker starts a run of the queued entries, as many as a batch holds."""
        tokens = min(waiting_tokens, self._max_batch_tokens)
        self._ends[worker] = now + self._cost.seconds(tokens)

    def end(self, worker: object) -> None:
        """Note that a worker's run has ended."""
        del self._ends[worker]

    def wait_seconds(self, waiting_tokens: int, now: float) -> float:
        """Return how many seconds to wait for the end of an active run; 0 to start a run now.

        The wait is at most twice the time of the run itself, whether the active runs are long or
        overdue.
        """
        if not self.exclusive or not self._ends:
            return 0.0
        if waiting_tokens >= MIN_BATCH_FILL * self._max_batch_tokens:
            return 0.0
        run_seconds = self._cost.seconds(waiting_tokens)
        left = max(self._ends.values()) - now
        return run_seconds + left if -run_seconds < left <= run_seconds else 0.0

    def should_delay(self, requests: int, waiting_tokens: int, waited_seconds: float = 0.0) -> bool:
        """Return whether a run of the queued entries is so cheap that it should wait for more.

        Never if the queued entries fill a batch or have waited for long.

        Args:
            requests: unanswered requests, running ones included.
            waiting_tokens: tokens in the queue.
            waited_seconds: seconds since the queue was last empty.
        """
        if requests <= FEW_REQUESTS or waiting_tokens >= self._max_batch_tokens:
            return False
        if waited_seconds >= LONGEST_DELAY_SECONDS:
            return False
        return self._cost.seconds(waiting_tokens) < self._cheap_seconds

    def may_run_inline(self, tokens: int) -> bool:
        """Return whether a lone entry may run on the event loop's thread.

        It may if no run is active, its predicted time is short, and so were the measured times of
        the runs of single entries before it: a model that hangs or is slow keeps to its workers.
        """
        return (
            not self._ends
            and self._short_runs >= MEASURED_RUNS
            and self._cost.seconds(tokens) <= MAX_INLINE_SECONDS
        )

    def observe_single(self, tokens: int, seconds: float) -> None:
        """Learn from a run of a single entry, on whatever thread."""
        if seconds <= MAX_INLINE_SECONDS:
            self._short_runs += 1
        elif self._cost.seconds(tokens) <= MAX_INLINE_SECONDS:
            self._short_runs = 0
