"""A request that waits for its rows, and the result that it gets."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from semserve_server.errors import InferenceFailed
from semserve_server.instrumentation.counters import cancelled_at_deadline
from semserve_server.instrumentation.request_context import InferenceCost
from semserve_server.runtime.encoding import Encoding
from semserve_server.runtime.runner import Rows
from semserve_server.runtime.sparse import SparseRow
from semserve_server.scheduling.batch_queue import Entry

_NO_NUMBERS = np.zeros(0, np.float32)


@dataclass(slots=True)
class Inference:
    """The rows of one request, and what they cost."""

    rows: Rows
    """Float32 [encodings, outputs], in the order of the encodings; NaN for an encoding that
    failed."""
    tokens: int
    """Tokens of the request's encodings."""
    padded_tokens: int
    """Tokens computed for this request, its part of the padding included."""
    queue_seconds: float
    """Time from admission until the last encoding left the queue."""
    compute_seconds: float
    """Time of the longest run with an encoding of this request."""
    failed: frozenset[int] = frozenset()
    """Indices of the encodings that failed. Empty unless the request accepts partial results."""
    sparse: Mapping[int, SparseRow] = field(default_factory=dict)
    """For a sparse model, the row of each encoding by its index; `rows` then has no columns."""

    @property
    def cost(self) -> InferenceCost:
        """The cost without the rows."""
        return InferenceCost(len(self.rows), self.tokens, self.queue_seconds, self.compute_seconds)


@dataclass(slots=True)
class BatchTiming:
    """Padding and times of a batch, for the results of its entries."""

    padded: int
    """Length to which each entry was padded, in tokens."""
    started: float
    """Instant at which the batch left the queue, in seconds of the batcher's clock."""
    seconds: float


class PendingRequest:
    """A request that waits for its rows. Only the event loop changes it."""

    __slots__ = (
        "_admitted", "_compute", "_failed", "_missing", "_padded", "_partial", "_queued", "_rows",
        "_sparse", "_tokens", "answer",
    )  # fmt: skip

    def __init__(
        self,
        size: int,
        admitted: float,
        answer: asyncio.Future[Inference],
        *,
        partial: bool = False,
    ) -> None:
        """Create a request without rows.

        Args:
            size: number of encodings.
            admitted: instant, in seconds of the batcher's clock.
            answer: set when the last row has arrived, or when the request has failed.
            partial: whether the request gets a result even if some encodings fail.
        """
        self.answer = answer
        self._admitted = admitted
        self._missing = size
        self._partial = partial
        self._rows: Rows | None = None
        self._sparse: dict[int, SparseRow] = {}
        self._failed: frozenset[int] = frozenset()
        self._tokens = 0
        self._padded = 0
        self._queued = 0.0
        self._compute = 0.0

    def entries(
        self, encodings: Sequence[Encoding], *, deadline: float, caller: str
    ) -> list[Entry[PendingRequest]]:
        """Create the entries of the request, one for each encoding.

        Args:
            encodings: as many as the request has.
            deadline: instant, in seconds of the batcher's clock.
            caller: name of the caller.
        """
        return [
            Entry(encoding, len(encoding), deadline, self, index, caller)
            for index, encoding in enumerate(encodings)
        ]

    def add_row(
        self, entry: Entry[PendingRequest], row: Rows | SparseRow, timing: BatchTiming
    ) -> None:
        """Add the row of one entry. The last one completes the result."""
        if isinstance(row, SparseRow):
            self._sparse[entry.index] = row
            row = _NO_NUMBERS
        if self._rows is None:
            # A request of one text, the common case, uses the row without a copy.
            shape = self._missing + len(self._failed), row.size
            self._rows = row[None] if shape[0] == 1 else np.full(shape, np.nan, np.float32)
        if len(self._rows) > 1:
            self._rows[entry.index] = row
        self._count(entry, timing)

    def add_failure(self, entry: Entry[PendingRequest], timing: BatchTiming) -> None:
        """Note that one encoding failed.

        This fails the request unless it accepts partial results.
        """
        if not self._partial:
            self.fail(InferenceFailed())
        self._failed |= {entry.index}
        self._count(entry, timing)

    def fail(self, error: Exception) -> None:
        """Fail the whole request. The code that submitted it drops its queued entries."""
        if not self.answer.done():
            self.answer.set_exception(error)

    def _count(self, entry: Entry[PendingRequest], timing: BatchTiming) -> None:
        self._missing -= 1
        self._tokens += entry.encoding.tokens
        self._padded += timing.padded
        self._queued = max(self._queued, timing.started - self._admitted)
        self._compute = max(self._compute, timing.seconds)
        if self._missing or self.answer.done():
            return
        if self._rows is None:
            self.fail(InferenceFailed())
            return
        self.answer.set_result(
            Inference(
                self._rows,
                self._tokens,
                self._padded,
                self._queued,
                self._compute,
                self._failed,
                self._sparse,
            )
        )


def drop_cause(error: BaseException, *, elapsed: float, remaining: float) -> str:
    """Return why the entries of a request were dropped: `expired`, `cancelled` or `failed`.

    Args:
        error: what ended the request.
        elapsed: seconds since the request was admitted.
        remaining: seconds until its deadline.
    """
    if cancelled_at_deadline(elapsed=elapsed, remaining=remaining):
        return "expired"
    return "cancelled" if isinstance(error, asyncio.CancelledError) else "failed"
