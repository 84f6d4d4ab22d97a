"""One model, whole: the order of the work from texts to rows, and the lifetime of the parts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semserve_server.admission import Admission
from semserve_server.batch_queue import BatchQueue
from semserve_server.batcher import Batcher, Runner
from semserve_server.bundle import Bundle, Manifest
from semserve_server.cost import CostModel
from semserve_server.encoding import Encoding
from semserve_server.errors import BundleError
from semserve_server.tokenizer import Item, Tokenizer, Tokens, Truncation

INLINE_BYTES = 2048
"""Requests of fewer bytes are tokenised on the event loop: 2 KB take about as long as handing them
to a thread and back."""


@dataclass(frozen=True, slots=True)
class Inference:
    """What the model gave for a request, and what it cost."""

    rows: NDArray[np.float32]
    """Float32 [encodings, outputs]: vectors or logits."""
    token_count: int
    padded_token_count: int
    queue_seconds: float
    compute_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """How much of the machine one model's batcher may use."""

    lanes: int
    """Runs side by side."""
    threads: int
    """Threads of one run on the CPU."""
    max_batch_tokens: int
    """Most padded tokens of a batch."""
    max_queue_entries: int
    """Most entries that wait."""
    cost: CostModel
    """What a run costs, as measured."""

    def __str__(self) -> str:
        return (
            f"{self.lanes} lanes x {self.threads} threads, {self.max_batch_tokens} tokens a batch"
        )


class Engine:
    """A bundle that answers. Made on the event loop; warm before anyone asks."""

    def __init__(
        self,
        bundle: Bundle,
        session: Runner,
        capacity: Capacity,
        *,
        provider: str,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        self.manifest: Manifest = bundle.manifest
        self.digest = bundle.digest
        self.provider = provider
        self.capacity = capacity
        self.variant = "portable"
        self.tokenizer = Tokenizer(bundle.tokenizer, max_length=bundle.manifest.max_sequence_length)
        self._batcher = Batcher(
            session,
            BatchQueue(max_batch_tokens=capacity.max_batch_tokens),
            Admission(
                cost=capacity.cost,
                lanes=capacity.lanes,
                max_batch_tokens=capacity.max_batch_tokens,
                max_entries=capacity.max_queue_entries,
            ),
            name=bundle.manifest.model,
            on_failure=on_failure,
        )
        self._readers = ThreadPoolExecutor(1, thread_name_prefix=f"{self.name}-tokenizer")

    def __repr__(self) -> str:
        return f"<Engine {self.name} on {self.provider}, {self._batcher!r}>"

    @property
    def name(self) -> str:
        """The model's name."""
        return self.manifest.model

    async def encode(self, items: Sequence[Item], truncation: Truncation) -> list[Encoding]:
        """Tokenise texts or pairs, on a thread where that is quicker for everybody."""
        if _size(items) < INLINE_BYTES:
            return self.tokenizer.encode(items, truncation)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, self.tokenizer.encode, items, truncation)

    async def tokens(self, texts: Sequence[str]) -> list[Tokens]:
        """Tell how texts are read, without running the model."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, self.tokenizer.tokens, texts)

    async def infer(
        self,
        encodings: Sequence[Encoding],
        *,
        timeout: float | None,  # noqa: ASYNC109  (a deadline travels with the entries, no scope)
    ) -> Inference:
        """Run encodings; they may share batches with anybody's.

        Args:
            encodings: at least one, none longer than the model takes.
            timeout: seconds that the caller still waits; None for ever.

        Raises:
            Overloaded, Draining, DeadlineExceeded, InferenceFailed: as `Batcher.submit`.
        """
        deadline = time.monotonic() + timeout if timeout is not None else float("inf")
        answer = await self._batcher.submit(encodings, deadline=deadline)
        return Inference(
            rows=answer.rows,
            token_count=sum(map(len, encodings)),
            padded_token_count=answer.padded_tokens,
            queue_seconds=answer.queue_seconds,
            compute_seconds=answer.compute_seconds,
        )

    async def drained(self) -> None:
        """Wait until every admitted request is answered."""
        await self._batcher.drained()

    def close(self) -> None:
        """Refuse new work and let the threads end."""
        self._batcher.close()
        self._readers.shutdown(wait=False)


def prove_golden(bundle: Bundle, session: Runner, *, tolerance: float | None = None) -> float:
    """Run the bundle's golden answers, alone and as one padded batch; this also warms the session.

    Args:
        bundle: whose answers to reproduce.
        session: what should give them.
        tolerance: largest absolute difference allowed; the bundle's own where None.

    Returns:
        The largest absolute difference.

    Raises:
        BundleError: the tokenizer or the model answers otherwise than Keras did.
    """
    path = bundle.directory / "golden.json"
    cases = bundle.golden.cases
    tokenizer = Tokenizer(bundle.tokenizer, max_length=bundle.manifest.max_sequence_length)
    encodings = tokenizer.encode([case.item for case in cases], Truncation.END)
    for number, (case, encoding) in enumerate(zip(cases, encodings, strict=True)):
        if (encoding.token_ids, encoding.segment_ids) != (case.token_ids, case.segment_ids):
            raise BundleError(f"{path}: cases[{number}] is tokenised otherwise here: export again")
        if case.row.size != bundle.manifest.outputs:
            raise BundleError(f"{path}: cases[{number}] has {case.row.size} outputs")
    expected = np.stack([case.row for case in cases])
    alone = np.concatenate([session.run([encoding]) for encoding in encodings])
    together = session.run(encodings)
    worst = max(float(np.abs(rows - expected).max()) for rows in (alone, together))
    limit = bundle.golden.tolerance if tolerance is None else tolerance
    if worst > limit:
        raise BundleError(
            f"{path}: the model differs from Keras by {worst:.1e}, more than {limit:.1e}: "
            "export again"
        )
    return worst


def _size(items: Sequence[Item]) -> int:
    """Count characters, which is near enough to bytes to choose a thread by."""
    return sum(
        len(item) if isinstance(item, str) else len(item[0]) + len(item[1]) for item in items
    )
