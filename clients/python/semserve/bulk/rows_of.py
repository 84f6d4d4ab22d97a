"""Converts the results of the calls to rows of a file."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from semserve.bulk.records import Record
from semserve.bulk.row_files import Rows, Shape

if TYPE_CHECKING:
    from semserve.calls.classification import Classifications
    from semserve.calls.embedding import Embeddings

_COUNTS = {"token_count": int, "truncated_tokens": int, "error": str}


def vector_shape(width: int) -> Shape:
    """Return the columns of embedded texts."""
    return Shape(fields={"text": str, **_COUNTS}, vector="vector", width=width)


def label_shape(labels: Sequence[str], *, pairs: bool) -> Shape:
    """Return the columns of classified pairs or texts."""
    texts = {"premise": str, "hypothesis": str} if pairs else {"text": str}
    fields = {**texts, "label": str, **_COUNTS}
    return Shape(fields=fields, vector="scores", names=labels, width=len(labels))


def vector_rows(width: int, records: Sequence[Record], found: "Embeddings") -> Rows:
    """Return the rows of embedded texts."""
    fields = {"text": [record.texts[0] for record in records], **_counts(found)}
    return Rows(fields=fields, vectors=_numbers(found.vectors, width))


def label_rows(shape: Shape, records: Sequence[Record], found: "Classifications") -> Rows:
    """Return the rows of classified pairs or texts."""
    names = [*shape.fields][: [*shape.fields].index("label")]
    texts = {
        name: [dict(enumerate(record.texts)).get(place, "") for record in records]
        for place, name in enumerate(names)
    }
    labels = [label or None for label in found.labels]
    return Rows(
        fields={**texts, "label": labels, **_counts(found)},
        vectors=_numbers(found.scores, shape.width),
    )


def _counts(found: Any) -> dict[str, list[Any]]:
    return {
        "token_count": found.token_counts.tolist(),
        "truncated_tokens": found.truncated_tokens.tolist(),
        "error": [
            str(found.errors[place]) if place in found.errors else None
            for place in range(len(found))
        ],
    }


def _numbers(numbers: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """Return the numbers of a batch; NaN if every record of it failed."""
    if numbers.shape[1] == width:
        return numbers
    return np.full((len(numbers), width), np.nan, np.float32)
