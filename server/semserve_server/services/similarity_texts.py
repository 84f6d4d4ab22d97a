"""The texts of a similarity request: which of them differ, and the vectors of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from semserve_server.engine import Engine
from semserve_server.runtime.tokenizer import Truncation
from semserve_server.services.execution import ITEM_BYTES, Work
from semserve_server.services.scores import Rows

LEFT, RIGHT = 0, 1
"""The sides, as the graph's input `side` counts them."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text of a request."""

    path: str
    """Path of its field, such as `pairs[3].left`."""
    text: str
    side: int
    """`LEFT` for left texts and queries, `RIGHT` for right texts and documents."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that has passed its checks."""

    engine: Engine
    metric: str
    work: Work
    """Its different texts."""
    places: list[int]
    """The place of each of its texts among the different ones."""


class Vectors:
    """The vectors of a request's texts, in their order. Copied only as they are needed."""

    def __init__(self, different: Rows, places: Sequence[int]) -> None:
        """Keep the vectors of the different texts, and where each text's is."""
        self._different = different
        self._places = places

    def rows(self, begin: int, end: int | None = None, step: int = 1) -> Rows:
        """Return the vectors of some of the texts, as slicing them does."""
        return self._different[self._places[begin:end:step]]


def paths(name: str, texts: Iterable[str], side: int) -> list[Text]:
    """Return the texts of a repeated field."""
    return [Text(f"{name}[{place}]", text, side) for place, text in enumerate(texts)]


def different_texts(
    texts: Sequence[Text],
    prompts: tuple[str, str],
    *,
    sides: bool,
    scores: int,
    reply_bytes: int,
    truncation: Truncation,
) -> tuple[Work, list[int]]:
    """Find the different texts of a request, each of which is embedded once.

    Args:
        texts: all of them, in the order of the rows that the scores are made from.
        prompts: what is put before the texts of the left and of the right side.
        sides: whether the model has an encoder for each side, so that a text may have two vectors.
        scores: how many will be computed.
        reply_bytes: what the answer will have, or more.
        truncation: the model's own rule.

    Returns:
        What to embed, and the place of each text among the different ones.
    """
    keys = [(prompts[one.side] + one.text, one.side if sides else LEFT) for one in texts]
    times = Counter(keys)
    places = {key: place for place, key in enumerate(times)}
    work = Work(
        items=[text for text, _ in times],
        sides=[side for _, side in times] if sides else None,
        field="texts",
        violations={},
        truncation=truncation,
        allow_partial=False,
        reply_bytes=reply_bytes + ITEM_BYTES,
        times=list(times.values()),
        scores=scores,
    )
    return work, [places[key] for key in keys]
