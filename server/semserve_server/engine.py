"""The engine of one model: the steps from texts to rows, and the lifetime of the parts."""

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
from semserve_server.runtime.sparse import sparse_rows
from semserve_server.runtime.token_estimator import TokenEstimator
from semserve_server.runtime.tokenizer import Item, Tokenizer, Tokens, Truncation
from semserve_server.runtime.tokenizer_thread import TokenizerThread, characters_of
from semserve_server.runtime.worker_threads import Worker
from semserve_server.scheduling.admission import Admission, QueueLoad
from semserve_server.scheduling.batch_queue import BatchQueue
from semserve_server.scheduling.batcher import Batcher
from semserve_server.scheduling.concurrency_limit import ConcurrencyLimit
from semserve_server.scheduling.cost_model import CostModel
from semserve_server.scheduling.dispatch import CHEAP_SECONDS, GPU_CHEAP_SECONDS, Dispatch
from semserve_server.scheduling.request import Inference

INLINE_CHARACTERS = 2048
"""Requests with fewer characters are tokenised on the event loop: that takes about as long as
handing them to a thread and back."""

CHARACTERS_PER_TOKEN = 4
"""Assumed characters of a token before the first text was tokenised."""

_Read = TypeVar("_Read")


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """Threads, batch size and queue limits of one model."""

    workers: int
    """Number of batch workers: runs that may be active at the same time."""
    threads: int
    """Intra-op threads of a run on the CPU beside other runs."""
    exclusive_threads: int
    """Intra-op threads of a run on the CPU that is alone."""
    max_batch_tokens: int
    """Most effective tokens of a batch (padding at its cost)."""
    max_queue_entries: int
    """Most entries in the batch queue."""
    max_queue_tokens: int
    """Most tokens in the batch queue."""
    max_queue_characters: int
    """Most characters that wait to be tokenised."""
    cost: CostModel
    """Measured cost of a run."""
    concurrency_limit: ConcurrencyLimit | None = None
    """Limit of the active runs of all models."""
    on_gpu: bool = False
    """Whether runs use a GPU, and so hardly any CPU time."""
    tokenizer_threads: int = 1
    """Threads that tokenise long requests. On a CPU, more than one would take CPUs from the runs;
    on a GPU, one thread limits the server: 271,000 tokens a second on the machine of an H100."""

    def __str__(self) -> str:
        if self.on_gpu:
            return (
                f"{_counted(self.workers, 'batch worker')}, {self.max_batch_tokens} tokens a batch"
            )
        return (
            f"{_counted(self.workers, 'batch worker')} x {_counted(self.threads, 'thread')}, "
            f"{_counted(self.exclusive_threads, 'thread')} for a single run, "
            f"{self.max_batch_tokens} tokens a batch"
        )


class Engine:
    """A loaded model. Created on the event loop, after its session was warmed up."""

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
        # The queue uses the cost measured at the start: the time of runs under load shows how busy
        # the CPUs are.
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
                cheap_seconds=GPU_CHEAP_SECONDS if capacity.on_gpu else CHEAP_SECONDS,
            ),
            counters=self.counters,
            concurrency_limit=capacity.concurrency_limit,
            background=not capacity.on_gpu,
        )
        if self.manifest.task == "sparse_embedding":
            self._batcher.condense = sparse_rows
        self._tokenizer_thread = TokenizerThread(
            tokenizer,
            self.name,
            max_characters=capacity.max_queue_characters,
            threads=capacity.tokenizer_threads,
        )
        self.workers: tuple[Worker, ...] = (*self._batcher.workers, *self._tokenizer_thread.workers)
        """The threads that work for the model, for the watchdog."""
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
        """Tokenise texts or pairs for `infer`. Long ones use a thread.

        Args:
            items: at least one.
            truncation: rule for items that are too long.
            remaining: seconds until the caller's deadline; None without a deadline.
            caller: name of the caller, as in `infer`.

        Raises:
            Overloaded: too much waits to be tokenised or to run, or the result would miss the
                deadline.
        """
        inline = (size := characters_of(items)) < INLINE_CHARACTERS
        # `infer` checks a short request at once; only while others are refused that is too late.
        if not inline or self.refusing:
            self.check_admission(len(items), size, remaining=remaining, caller=caller)
        if inline:
            encodings = self.tokenizer.encode(items, truncation)
        else:
            encodings = await self._tokenizer_thread.encode(items, truncation)
        self._token_estimator.observe(size, sum(encoding.tokens for encoding in encodings))
        return encodings

    def check_admission(
        self, items: int, characters: int, *, remaining: float | None, caller: str
    ) -> None:
        """Refuse a request that the queue could not admit, before its texts are tokenised.

        The number of tokens is not known yet. It is estimated from the characters and the recent
        ratio of tokens to characters. Under load the queue is nearly always full, and a request
        that it will refuse must not cost tokenisation first. Raises `Overloaded`.
        """
        least = items * self.tokenizer.least_tokens
        most = items * self.tokenizer.most_tokens
        tokens = min(max(self._token_estimator.tokens(characters), least), most)
        seconds = float("inf") if remaining is None else remaining
        self._batcher.check_admission(QueueLoad(items, tokens), seconds=seconds, caller=caller)

    async def tokens(
        self,
        texts: Sequence[str],
        convert: Callable[[list[Tokens]], _Read],
        *,
        remaining: float | None,
    ) -> list[_Read]:
        """Return the tokens of texts, without running the model.

        Args:
            texts: at least one.
            convert: called on the tokenizer thread with the tokens of some of the texts.
            remaining: seconds until the caller's deadline; None without a deadline.

        Returns:
            The results of `convert`, in the order of the texts.

        Raises:
            Overloaded: too many characters wait, or the reply would miss the deadline.
            Draining: the engine is closed.
        """
        return await self._tokenizer_thread.tokens(texts, convert, remaining=remaining)

    async def decode(
        self, ids: Sequence[int], *, skip_special: bool, remaining: float | None
    ) -> str:
        """Return the text of token ids, each below the size of the vocabulary.

        Args:
            ids: at least one.
            skip_special: whether to leave out special tokens.
            remaining: seconds until the caller's deadline; None without a deadline.

        Raises:
            Overloaded, Draining: as `tokens`.
        """
        return await self._tokenizer_thread.decode(
            ids, skip_special=skip_special, remaining=remaining
        )

    def estimate(self, items: Sequence[Item]) -> int:
        """Estimate the tokens of items after truncation, from their characters."""
        characters = characters_of(items)
        tokens = self._token_estimator.tokens(characters) or characters // CHARACTERS_PER_TOKEN
        return min(max(tokens, len(items)), len(items) * self.tokenizer.most_tokens)

    async def infer(
        self,
        encodings: Sequence[Encoding],
        *,
        timeout: float | None,  # noqa: ASYNC109  (a deadline travels with the entries, no scope)
        partial: bool = False,
        caller: str = "",
        alone: bool = False,
    ) -> Inference:
        """Run encodings. They may share batches with those of other requests.

        Args:
            encodings: at least one, none longer than the model's maximum.
            timeout: seconds until the caller's deadline; None without a deadline.
            partial: whether the result may lack the rows of encodings that fail.
            caller: name of the caller; callers share the runs fairly.
            alone: whether the server has no other call, as in `Batcher.submit`.

        Raises:
            Overloaded, Draining, DeadlineExceeded, InferenceFailed: as `Batcher.submit`.
        """
        deadline = time.monotonic() + timeout if timeout is not None else float("inf")
        return await self._batcher.submit(
            encodings, deadline=deadline, partial=partial, caller=caller, alone=alone
        )

    @property
    def waiting(self) -> QueueLoad:
        """The size of the batch queue."""
        return self._batcher.waiting

    @property
    def refusing(self) -> bool:
        """Whether the latest request that asked for admission was refused for overload."""
        return self._batcher.refusing

    @property
    def stalled(self) -> bool:
        """Whether the watchdog found that a thread of the model hangs."""
        return any(worker.hangs for worker in self.workers)

    @property
    def failed(self) -> bool:
        """Whether a batch worker died."""
        return self._batcher.failed

    def runs(self) -> dict[str, float]:
        """Return the start of each active run, on the monotonic clock, by its worker's name."""
        return self._batcher.runs()

    def retire(self) -> None:
        """Close when the last call that uses the engine has ended."""
        weakref.finalize(self, _close, self._batcher, self._tokenizer_thread).atexit = False

    def close(self) -> None:
        """Refuse new work and let the threads end."""
        _close(self._batcher, self._tokenizer_thread)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _close(batcher: Batcher, tokenizer_thread: TokenizerThread) -> None:
    batcher.close()
    tokenizer_thread.close()
