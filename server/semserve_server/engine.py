"""One model, whole: the order of the work from texts to rows, and the lifetime of the parts."""

from __future__ import annotations

import copy
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from semserve_server.instrumentation.counters import ModelCounters
from semserve_server.repository.manifest import Bundle, Manifest
from semserve_server.runtime.encoding import Encoding
from semserve_server.runtime.runner import Runner
from semserve_server.runtime.tokenizer import Item, Tokenizer, Tokens, Truncation
from semserve_server.runtime.tokenizer_thread import TokenizerThread, characters_of
from semserve_server.runtime.worker_threads import Worker
from semserve_server.scheduling.admission import Admission, QueueLoad
from semserve_server.scheduling.batch_queue import BatchQueue
from semserve_server.scheduling.batcher import Batcher
from semserve_server.scheduling.concurrency_limit import ConcurrencyLimit
from semserve_server.scheduling.cost_model import CostModel
from semserve_server.scheduling.dispatch import Dispatch
from semserve_server.scheduling.request import Inference
from semserve_server.scheduling.token_estimator import TokenEstimator

INLINE_CHARACTERS = 2048
"""Requests of fewer characters are tokenised on the event loop: so few take about as long as
handing them to a thread and back."""

CHARACTERS_PER_TOKEN = 4
"""What a token is taken to be before any text was read."""

_Read = TypeVar("_Read")


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """How much of the machine one model may use."""

    workers: int
    """Runs side by side."""
    threads: int
    """Threads of a run on the CPU that has others beside it."""
    exclusive_threads: int
    """Threads of a lone run on the CPU."""
    max_batch_tokens: int
    """Most tokens of a batch, padding counted as what it costs."""
    max_queue_entries: int
    """Most entries that wait to run."""
    max_queue_tokens: int
    """Most tokens that wait to run."""
    max_queue_characters: int
    """Most characters that wait to be tokenised."""
    cost: CostModel
    """What a run costs, as measured."""
    concurrency_limit: ConcurrencyLimit | None = None
    """The runs that other models want too."""

    def __str__(self) -> str:
        return (
            f"{self.workers} workers x {self.threads} threads, alone {self.exclusive_threads} threads, "
            f"{self.max_batch_tokens} tokens a batch"
        )


class Engine:
    """A bundle that answers. Made on the event loop; warm before anyone asks."""

    def __init__(
        self,
        bundle: Bundle,
        tokenizer: Tokenizer,
        session: Runner,
        capacity: Capacity,
        *,
        variant: str,
        provider: str,
        counters: ModelCounters | None = None,
    ) -> None:
        self.manifest: Manifest = bundle.manifest
        self.digest = bundle.digest
        self.variant = variant
        self.tokenizer = tokenizer
        self.capacity = capacity
        self.provider = provider
        self.counters = counters or ModelCounters(self.name)
        # As measured at the start: what runs take beside others says how short CPUs are, not how
        # batches should be cut.
        cost = copy.copy(capacity.cost)
        self._batcher = Batcher(
            session,
            BatchQueue(max_batch_tokens=capacity.max_batch_tokens, cost=cost),
            Admission(
                cost=capacity.cost,
                workers=capacity.workers,
                max_batch_tokens=capacity.max_batch_tokens,
                max_entries=capacity.max_queue_entries,
                max_tokens=capacity.max_queue_tokens,
            ),
            Dispatch(
                cost=cost,
                max_batch_tokens=capacity.max_batch_tokens,
                exclusive=capacity.exclusive_threads > capacity.threads,
            ),
            counters=self.counters,
            concurrency_limit=capacity.concurrency_limit,
        )
        self._reader = TokenizerThread(
            tokenizer, self.name, max_characters=capacity.max_queue_characters
        )
        self.workers: tuple[Worker, ...] = (*self._batcher.workers, self._reader.worker)
        """The threads that work for it, as the watchdog sees them."""
        self._token_estimator = TokenEstimator()

    def __repr__(self) -> str:
        return f"<Engine {self.name} on {self.provider}, {self._batcher!r}>"

    @property
    def name(self) -> str:
        """The model's name."""
        return self.manifest.model

    async def encode(
        self,
        items: Sequence[Item],
        truncation: Truncation,
        *,
        remaining: float | None,
        caller: str = "",
    ) -> list[Encoding]:
        """Tokenise texts or pairs that `infer` would admit, on a thread where that is quicker.

        Args:
            items: at least one.
            truncation: of those that are too long.
            remaining: seconds that the caller still waits; None for ever.
            caller: who asks, as `infer` is told.

        Raises:
            Overloaded: too much waits to be tokenised or to run, or the answer would come too late.
        """
        size = characters_of(items)
        seconds = float("inf") if remaining is None else remaining
        self._check_admission(len(items), size, seconds, caller)
        if size < INLINE_CHARACTERS:
            encodings = self.tokenizer.encode(items, truncation)
        else:
            encodings = await self._reader.encode(items, truncation)
        self._token_estimator.observe(size, sum(map(len, encodings)))
        return encodings

    async def tokens(
        self,
        texts: Sequence[str],
        convert: Callable[[list[Tokens]], _Read],
        *,
        remaining: float | None,
    ) -> list[_Read]:
        """Tell how texts are read, without running the model.

        Args:
            texts: at least one.
            convert: called on the tokenizer's thread with the tokens of some of the texts.
            remaining: seconds that the caller still waits; None for ever.

        Returns:
            What `convert` has returned, in the order of the texts.

        Raises:
            Overloaded: too much waits for this, or the answer would come too late.
            Draining: the engine is closed.
        """
        return await self._reader.tokens(texts, convert, remaining=remaining)

    def estimate(self, items: Sequence[Item]) -> int:
        """Tell how many tokens items will be after truncation, by their characters."""
        characters = characters_of(items)
        tokens = self._token_estimator.tokens(characters) or characters // CHARACTERS_PER_TOKEN
        return min(max(tokens, len(items)), len(items) * self.tokenizer.max_length)

    async def infer(
        self,
        encodings: Sequence[Encoding],
        *,
        timeout: float | None,  # noqa: ASYNC109  (a deadline travels with the entries, no scope)
        partial: bool = False,
        caller: str = "",
    ) -> Inference:
        """Run encodings; they may share batches with anybody's.

        Args:
            encodings: at least one, none longer than the model takes.
            timeout: seconds that the caller still waits; None for ever.
            partial: whether the answer may lack the rows of encodings that fail.
            caller: who asks; the runs are shared fairly among callers.

        Raises:
            Overloaded, Draining, DeadlineExceeded, InferenceFailed: as `Batcher.submit`.
        """
        deadline = time.monotonic() + timeout if timeout is not None else float("inf")
        return await self._batcher.submit(
            encodings, deadline=deadline, partial=partial, caller=caller
        )

    @property
    def waiting(self) -> QueueLoad:
        """What is queued to run."""
        return self._batcher.waiting

    @property
    def stalled(self) -> bool:
        """Whether the watchdog has seen that one of its threads hangs."""
        return any(worker.hangs for worker in self.workers)

    @property
    def failed(self) -> bool:
        """Whether a worker has died."""
        return self._batcher.failed

    def runs(self) -> dict[str, float]:
        """Tell when each of the present runs began, on the monotonic clock, by its worker."""
        return self._batcher.runs()

    def retire(self) -> None:
        """Close as soon as nobody uses it any more: calls that have found it are answered by it."""
        weakref.finalize(self, _close, self._batcher, self._reader).atexit = False

    def close(self) -> None:
        """Refuse new work and let the threads end."""
        _close(self._batcher, self._reader)

    def _check_admission(self, items: int, characters: int, seconds: float, caller: str) -> None:
        """Refuse what the queue has no room for, before any work is done for it.

        How many tokens the items are is not known yet. It is taken to be what their characters
        were of late: under load the queue is always nearly full, and what it has no room for must
        not cost its reading first.
        """
        most = items * self.tokenizer.max_length
        tokens = min(max(self._token_estimator.tokens(characters), items), most)
        self._batcher.check_admission(QueueLoad(items, tokens), seconds=seconds, caller=caller)


def _close(batcher: Batcher, reader: TokenizerThread) -> None:
    batcher.close()
    reader.close()
