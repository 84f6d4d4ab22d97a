"""Finds the entries that fail a run, so that they fail alone. Pure but for the runs."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from semserve_server.runtime.encoding import Encoding
from semserve_server.runtime.sparse import SparseRow

SURELY_FOUND = 4
"""How many poisoned entries of one batch are certain to be told from their neighbours. Each takes
at most two runs a halving; a batch that fails for a reason of its own ends after as many."""

Rows = NDArray[np.float32]
Run = Callable[[Sequence[Encoding]], Rows]


@dataclass(slots=True)
class Outcome:
    """What came of the entries of a batch."""

    rows: Rows | None
    """Float32 [entries, outputs]; None where no entry has one."""
    failures: dict[int, Exception] = field(default_factory=dict)
    """Why an entry has no row, by its place; what stands in the rows there means nothing."""
    sparse: list[SparseRow] | None = None
    """What was made of the rows, where the model's rows are sparse; then `rows` has no numbers."""


def run_batch(run: Run, encodings: Sequence[Encoding]) -> Outcome:
    """Run a batch; where that fails, run halves of it, until those that fail are alone.

    Args:
        run: what fails or gives float32 [encodings, outputs].
        encodings: at least one.

    Returns:
        The rows, of which those that are not finite are failures. There are at most
        `2 * SURELY_FOUND * log2(entries)` runs after the first. Neighbours of more poisoned entries
        than are surely found may fail with them.
    """
    try:
        return _finite(run(encodings), len(encodings))
    except Exception as error:  # noqa: BLE001  (whatever a run raises is its entries' answer)
        return _run_halves(run, encodings, error)


def _run_halves(run: Run, encodings: Sequence[Encoding], error: Exception) -> Outcome:
    """Split every part that failed, the largest first, as long as runs are left."""
    outcome = Outcome(None)
    left = 2 * SURELY_FOUND * math.ceil(math.log2(len(encodings)))
    failed = deque([(0, len(encodings), error)])
    while failed:
        start, stop, error = failed.popleft()
        if stop - start == 1 or not left:
            outcome.failures.update(dict.fromkeys(range(start, stop), error))
            continue
        left -= 2
        middle = (start + stop) // 2
        for first, last in ((start, middle), (middle, stop)):
            try:
                part = _finite(run(encodings[first:last]), last - first)
                _put(outcome, part, first, len(encodings))
            except Exception as next_error:  # noqa: BLE001  (as above)
                failed.append((first, last, next_error))
    # The error's traceback refers to this frame, and the frame to the session.
    del error
    return outcome


def _finite(rows: Rows, size: int) -> Outcome:
    """Fail the rows in which a number is not finite.

    Raises:
        ValueError: they are not as many rows as there are encodings.
    """
    if np.ndim(rows) != 2 or len(rows) != size:  # noqa: PLR2004  (rows, and numbers of a row)
        raise ValueError(f"the model gave an array of {np.shape(rows)} for {size} encodings")
    outcome = Outcome(rows)
    if not np.isfinite(rows).all():
        error = FloatingPointError("the model gave values that are not finite")
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        outcome.failures = dict.fromkeys(bad.tolist(), error)
    return outcome


def _put(outcome: Outcome, part: Outcome, start: int, size: int) -> None:
    """Enter what came of a part that begins at `start`."""
    if part.rows is None:
        return
    if outcome.rows is None:
        outcome.rows = np.zeros((size, part.rows.shape[1]), np.float32)
    outcome.rows[start : start + len(part.rows)] = part.rows
    outcome.failures.update({start + place: error for place, error in part.failures.items()})
