"""The texts of a similarity request: which are unique, and the vectors of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from semserve_server.engine import Engine
from semserve_server.runtime.tokenizer import Truncation
from semserve_server.services.execution import ITEM_BYTES, InferenceRequest
from semserve_server.services.scores import Rows

LEFT, RIGHT = 0, 1
"""The sides, as the graph's input `side` numbers them."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text of a request."""

    path: str
    """Path of its field, such as `pairs[3].left`."""
    text: str
    side: int
    """`LEFT` for left texts and queries, `RIGHT` for right texts and documents."""


@dataclass(frozen=True, slots=True)
class CheckedRequest:
    """A request that has passed validation."""

    engine: Engine
    metric: str
    inference: InferenceRequest
    """Its unique texts."""
    places: list[int]
    """Index of each of its texts among the unique ones."""


class Vectors:
    """The vectors of a request's texts, in their order. Copied only when needed."""

    def __init__(self, unique: Rows, places: Sequence[int]) -> None:
        """Store the vectors of the unique texts, and the index of each text among them."""
        self._unique = unique
        self._places = places

    def rows(self, begin: int, end: int | None = None, step: int = 1) -> Rows:
        """Return the vectors of a slice of the texts."""
        return self._unique[self._places[begin:end:step]]


def paths(name: str, texts: Iterable[str], side: int) -> list[Text]:
    """Return the texts of a repeated field."""
    return [Text(f"{name}[{place}]", text, side) for place, text in enumerate(texts)]


def unique_texts(
    texts: Sequence[Text],
    prompts: tuple[str, str],
    *,
    sides: bool,
    scores: int,
    reply_bytes: int,
    truncation: Truncation,
) -> tuple[InferenceRequest, list[int]]:
    """Find the unique texts of a request. Each of them is embedded once.

    Args:
        texts: all texts, in the order of the rows for the scores.
        prompts: prompts of the left and the right side.
        sides: whether the model has an encoder for each side, so that a text may have two vectors.
        scores: number of scores to compute.
        reply_bytes: upper bound of the bytes of the reply.
        truncation: the model's truncation rule.

    Returns:
        The inference request, and the index of each text among the unique ones.
    """
    keys = [(prompts[one.side] + one.text, one.side if sides else LEFT) for one in texts]
    repeats = Counter(keys)
    places = {key: place for place, key in enumerate(repeats)}
    inference = InferenceRequest(
        items=[text for text, _ in repeats],
        sides=[side for _, side in repeats] if sides else None,
        field="texts",
        violations={},
        truncation=truncation,
        allow_partial=False,
        reply_bytes=reply_bytes + ITEM_BYTES,
        repeats=list(repeats.values()),
        scores=scores,
    )
    return inference, [places[key] for key in keys]
