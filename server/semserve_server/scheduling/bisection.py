"""Isolates the entries that make a run fail, so that the other entries of the batch succeed.

Pure, except for the runs.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from semserve_server.runtime.encoding import Encoding
from semserve_server.runtime.sparse import SparseRow

MAX_ISOLATED = 4
"""Number of failing entries of one batch that are always isolated from the others. Each costs at
most two runs for each level of bisection. A batch that fails for another reason ends after the
same number of runs."""

Rows = NDArray[np.float32]
Run = Callable[[Sequence[Encoding]], Rows]
Condense = Callable[[Rows, Sequence[Encoding]], list[SparseRow]]


@dataclass(slots=True)
class RunResult:
    """The results of the entries of a batch."""

    rows: Rows | None
    """Float32 [entries, outputs]; None if every entry failed."""
    failures: dict[int, Exception] = field(default_factory=dict)
    """The error of each entry that failed, by its index. The row of such an entry has no
    meaning."""
    sparse: list[SparseRow] | None = None
    """For a sparse model, the sparse rows; `rows` then has no columns."""

    def make_sparse(self, condense: Condense, encodings: Sequence[Encoding]) -> None:
        """Replace the rows, which are large, by sparse rows."""
        if self.rows is not None:
            self.sparse = condense(self.rows, encodings)
            self.rows = np.zeros((len(encodings), 0), np.float32)


def run_batch(run: Run, encodings: Sequence[Encoding]) -> RunResult:
    """Run a batch. If the run fails, run its halves, until the entries that fail are alone.

    Args:
        run: returns float32 [encodings, outputs], or raises.
        encodings: at least one.

    Returns:
        The rows. Rows with non-finite values are failures. At most `2 * MAX_ISOLATED *
        log2(entries)` runs follow the first one. If more than `MAX_ISOLATED` entries fail, entries
        beside them may fail too.
    """
    try:
        return _finite(run(encodings), len(encodings))
    except Exception as error:  # noqa: BLE001  (whatever a run raises is its entries' answer)
        return _bisect(run, encodings, error)


def _bisect(run: Run, encodings: Sequence[Encoding], error: Exception) -> RunResult:
    """Split every part that failed, the largest first, while runs are left."""
    result = RunResult(None)
    left = 2 * MAX_ISOLATED * math.ceil(math.log2(len(encodings)))
    failed = deque([(0, len(encodings), error)])
    while failed:
        start, stop, error = failed.popleft()
        if stop - start == 1 or not left:
            result.failures.update(dict.fromkeys(range(start, stop), error))
            continue
        left -= 2
        middle = (start + stop) // 2
        for first, last in ((start, middle), (middle, stop)):
            try:
                part = _finite(run(encodings[first:last]), last - first)
                _put(result, part, first, len(encodings))
            except Exception as next_error:  # noqa: BLE001  (as above)
                failed.append((first, last, next_error))
    del error
    return result


def _finite(rows: Rows, size: int) -> RunResult:
    """Mark the rows with non-finite values as failures.

    Raises:
        ValueError: the number of rows is not `size`.
    """
    if np.ndim(rows) != 2 or len(rows) != size:  # noqa: PLR2004  (rows, and numbers of a row)
        raise ValueError(f"the model gave an array of {np.shape(rows)} for {size} encodings")
    result = RunResult(rows)
    if not np.isfinite(rows).all():
        error = FloatingPointError("the model gave values that are not finite")
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        result.failures = dict.fromkeys(bad.tolist(), error)
    return result


def _put(result: RunResult, part: RunResult, start: int, size: int) -> None:
    """Copy the results of the part that begins at index `start`."""
    if part.rows is None:
        return
    if result.rows is None:
        result.rows = np.zeros((size, part.rows.shape[1]), np.float32)
    result.rows[start : start + len(part.rows)] = part.rows
    result.failures.update({start + place: error for place, error in part.failures.items()})
