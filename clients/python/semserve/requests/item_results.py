"""The common fields of results of lists: an entry for each item, and the errors of items."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semserve.connection.reply import Reply
from semserve.errors import SemserveError, from_status, with_offset
from semserve.requests.values import Usage, usage


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ItemResults(Reply):
    """One result for each text or pair of a list, in the order of the list.

    Attributes:
        model: name of the model.
        token_counts: int32 (items,), tokens of each item, special tokens included.
        truncated_tokens: int32 (items,), tokens of each item that truncation dropped.
        errors: errors of items by index; empty without `allow_partial`.
        usage: cost of the call.
    """

    model: str
    token_counts: NDArray[np.int32]
    truncated_tokens: NDArray[np.int32]
    errors: Mapping[int, SemserveError]
    usage: Usage

    def __len__(self) -> int:
        return len(self.token_counts)


def item_results(response: Any) -> dict[str, Any]:
    """Read the fields of `ItemResults` from a response."""
    results = response.results
    return {
        "model": response.model,
        "token_counts": np.array([result.token_count for result in results], np.int32),
        "truncated_tokens": np.array([result.truncated_tokens for result in results], np.int32),
        "errors": {
            place: from_status(result.error)
            for place, result in enumerate(results)
            if result.HasField("error")
        },
        "usage": usage(response.usage),
    }


def failed_item(error: SemserveError) -> dict[str, Any]:
    """Return the fields of `ItemResults` for a request of one item that was too large to send."""
    none = np.zeros(1, np.int32)
    return {
        "model": "",
        "token_counts": none,
        "truncated_tokens": none,
        "errors": {0: error},
        "usage": Usage(),
    }


def joined(parts: Sequence[ItemResults], field: str) -> dict[str, Any]:
    """Join the fields of `ItemResults` of all parts.

    Args:
        parts: the results, in order.
        field: the list's field in the requests.
    """
    starts = accumulate((len(part) for part in parts), initial=0)
    return {
        "model": next((part.model for part in parts if part.model), ""),
        "token_counts": np.concatenate([part.token_counts for part in parts]),
        "truncated_tokens": np.concatenate([part.truncated_tokens for part in parts]),
        "errors": {
            start + place: with_offset(error, field, start)
            for start, part in zip(starts, parts, strict=False)
            for place, error in part.errors.items()
        },
        "usage": reduce(add, (part.usage for part in parts)),
    }


def filled(rows: Mapping[int, NDArray[np.float32]], count: int) -> NDArray[np.float32]:
    """Return a float32 (count, width) with rows at their indices; other rows are NaN."""
    width = len(next(iter(rows.values()), ()))
    matrix = np.full((count, width), np.nan, np.float32)
    for place, row in rows.items():
        matrix[place] = row
    return matrix


def stacked(matrices: Iterable[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Stack matrices. A matrix without width, whose items all failed, gets the others' width."""
    matrices = list(matrices)
    width = max(matrix.shape[1] for matrix in matrices)
    return np.concatenate(
        [
            matrix if matrix.shape[1] else np.full((len(matrix), width), np.nan, np.float32)
            for matrix in matrices
        ],
    )
