"""What a request is answered with, and how its rows are gathered."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from semserve_server.errors import InferenceFailed
from semserve_server.runtime.runner import Rows
from semserve_server.runtime.sparse import SparseRow
from semserve_server.scheduling.batch_queue import Entry

_NO_NUMBERS = np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True)
class Inference:
    """The rows of one request, and what they cost."""

    rows: Rows
    """Float32 [encodings, outputs], in the order of the encodings; NaN where one has failed."""
    tokens: int
    """Tokens of the request's encodings."""
    padded_tokens: int
    """Tokens computed for this request, its share of the padding included."""
    queue_seconds: float
    """From admission until its last encoding was taken."""
    compute_seconds: float
    """The longest run that it took part in."""
    failed: frozenset[int] = frozenset()
    """Places of the encodings that have failed; none unless the request takes what there is."""
    sparse: Mapping[int, SparseRow] = field(default_factory=dict)
    """Of a model of sparse rows, the row of each encoding by its place; its `rows` have no
    numbers."""

    @property
    def cost(self) -> Cost:
        """What it took, without the rows."""
        return Cost(len(self.rows), self.tokens, self.queue_seconds, self.compute_seconds)


@dataclass(frozen=True, slots=True)
class Cost:
    """What the rows of one request took."""

    texts: int
    tokens: int
    queue_seconds: float
    compute_seconds: float


@dataclass(frozen=True, slots=True)
class Computed:
    """What a batch took, as all of its entries are told."""

    padded: int
    """Tokens to which each entry was padded."""
    started: float
    """When it was taken, on the batcher's clock."""
    seconds: float


class Pending:
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
        """Make a request that has no rows yet.

        Args:
            size: its encodings.
            admitted: instant, on the batcher's clock.
            answer: set once the last row has come, or when the request has failed.
            partial: whether it is answered even if some encodings fail.
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

    def receive(self, entry: Entry[Pending], row: Rows | SparseRow, computed: Computed) -> None:
        """Take one row; the last one completes the answer."""
        if isinstance(row, SparseRow):
            self._sparse[entry.index] = row
            row = _NO_NUMBERS
        if self._rows is None:
            # A request of one text, the common case, keeps the row's memory as it is.
            shape = self._missing + len(self._failed), row.size
            self._rows = row[None] if shape[0] == 1 else np.full(shape, np.nan, np.float32)
        if len(self._rows) > 1:
            self._rows[entry.index] = row
        self._count(entry, computed)

    def lose(self, entry: Entry[Pending], computed: Computed) -> None:
        """Hear that one encoding has failed, which fails the request unless it takes parts."""
        if not self._partial:
            self.fail(InferenceFailed())
        self._failed |= {entry.index}
        self._count(entry, computed)

    def fail(self, error: Exception) -> None:
        """Fail the whole request; what of it still waits is dropped by its caller."""
        if not self.answer.done():
            self.answer.set_exception(error)

    def _count(self, entry: Entry[Pending], computed: Computed) -> None:
        self._missing -= 1
        self._tokens += entry.encoding.tokens
        self._padded += computed.padded
        self._queued = max(self._queued, computed.started - self._admitted)
        self._compute = max(self._compute, computed.seconds)
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
