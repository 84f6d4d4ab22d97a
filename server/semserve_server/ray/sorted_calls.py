"""Sends the texts of a block to a model in order of their length, and returns rows in their order.

Texts of about the same length stand next to each other in the model's queue, so that batches have
little padding. Two slices are in the queue at a time, so that the model always has work.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from semserve_server.errors import InvalidRequest

SLICE_TEXTS = 1024
"""Most texts or pairs of one call to the model."""
SLICE_CHARACTERS = 500_000
"""Most characters of one call to the model, unless one text has more."""
IN_FLIGHT = 2
"""Calls to the model at a time."""

Texts = tuple[object, ...]
"""The values of the text columns of a row: one text, or the two of a pair."""
_INDEX = re.compile(r"\w+\[(\d+)\]\.?(\w*)")


class InvalidRow(Exception):
    """A row of a block is invalid."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(f"row {row}: {reason}")
        self.row = row
        """Index in the block."""
        self.reason = reason


def sorted_calls(
    block: Sequence[Texts],
    call: Callable[[list[Texts]], NDArray[np.float32]],
    *,
    width: int,
    allow_partial: bool,
) -> tuple[NDArray[np.float32], dict[int, str]]:
    """Return a row of numbers for each row of a block.

    Args:
        block: the texts of each row.
        call: runs the model on some rows: float32 [rows, width]. Called by several threads.
        width: numbers of a row.
        allow_partial: whether an invalid row gets NaN in place of an error.

    Returns:
        Float32 [rows, width] in the order of the block, and the reason for each invalid row.

    Raises:
        InvalidRow: a row is invalid, and partial results are not allowed.
        SemserveError: the model failed.
    """
    numbers = np.full((len(block), width), np.nan, np.float32)
    errors: dict[int, str] = {}

    def run(rows: Sequence[int]) -> None:
        left = [*rows]
        while left:
            try:
                numbers[left] = call([block[row] for row in left])
            except InvalidRequest as error:
                wrong = _invalid_rows(error, left)
                if not allow_partial:
                    row = min(wrong)
                    raise InvalidRow(row, wrong[row]) from None
                errors.update(wrong)
                left = [row for row in left if row not in wrong]
            else:
                return

    with ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="semserve-slice") as threads:
        # `map` submits everything at once; the queue holds lists of numbers alone.
        for _ in threads.map(run, slices(block)):
            pass
    return numbers, errors


def slices(block: Sequence[Texts]) -> Iterator[list[int]]:
    """Divide the rows of a block, longest first, into slices of texts of about the same length."""
    lengths = [sum(len(text) for text in row if isinstance(text, str)) for row in block]
    rows: list[int] = []
    characters = 0
    for row in sorted(range(len(block)), key=lambda row: (-lengths[row], row)):
        if rows and (len(rows) == SLICE_TEXTS or characters + lengths[row] > SLICE_CHARACTERS):
            yield rows
            rows, characters = [], 0
        rows.append(row)
        characters += lengths[row]
    if rows:
        yield rows


def _invalid_rows(error: InvalidRequest, rows: Sequence[int]) -> dict[int, str]:
    """Return the reason for each invalid row of a call.

    Raises:
        InvalidRequest: the error is not about a row.
    """
    wrong: dict[int, str] = {}
    for violation in error.violations:
        found = _INDEX.match(violation.field)
        if found is None or int(found[1]) >= len(rows):
            raise error
        part = f"{found[2]}: " if found[2] else ""
        wrong.setdefault(rows[int(found[1])], part + violation.description)
    return wrong
