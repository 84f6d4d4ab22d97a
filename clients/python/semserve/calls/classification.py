"""ClassificationService: its requests, and the result `Classifications`."""

from collections.abc import AsyncIterable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from semserve.errors import InvalidRequest
from semserve.requests.inputs import CLASSIFY_NAMES, Failures, as_pairs, batch_source
from semserve.requests.item_results import (
    ItemResults,
    failed_item,
    filled,
    item_results,
    joined,
    stacked,
)
from semserve.requests.values import TRUNCATION, Truncation, chunks
from semserve.requests.work import Batches, Method, Part, Work
from semserve.v1 import classification_pb2

CLASSIFY = Method(
    "/semserve.v1.ClassificationService/Classify",
    classification_pb2.ClassifyRequest,
    classification_pb2.ClassifyResponse,
)
STREAM_CLASSIFY = Method(
    "/semserve.v1.ClassificationService/StreamClassify",
    classification_pb2.StreamClassifyRequest,
    classification_pb2.StreamClassifyResponse,
    "stream_stream",
)
# A premise and a hypothesis, or one text for a classifier of single texts. A mapping is read by its
# names: premise and hypothesis, text and text_pair, or sentence1 and sentence2.
Pair = tuple[str, str] | Sequence[str] | Mapping[str, str] | str


@dataclass(frozen=True, slots=True)
class Classification:
    """The result of one pair.

    Attributes:
        label: the label with the highest score.
        scores: the probability of every label. They sum to 1, unless the labels are independent
            (sigmoid scores).
    """

    label: str
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Classifications(ItemResults):
    """The labels of pairs, in the order of the pairs. Iterate over it to get one at a time.

    Attributes:
        classes: the model's labels, in the order of the columns below.
        labels: the label of each pair; empty for a pair that failed.
        scores: float32 (pairs, classes), probabilities; NaN for a pair that failed.
        logits: float32 (pairs, classes), the model's outputs; the scores are their softmax, or
            their sigmoid if the labels are independent.
    """

    classes: tuple[str, ...]
    labels: tuple[str, ...]
    scores: NDArray[np.float32]
    logits: NDArray[np.float32]

    def __getitem__(self, place: int) -> Classification:
        """Return the classification of one pair, or raise the pair's error."""
        place = range(len(self))[place]
        if place in self.errors:
            raise self.errors[place]
        scores = dict(zip(self.classes, self.scores[place].tolist(), strict=True))
        return Classification(self.labels[place], scores)

    def __iter__(self) -> Iterator[Classification]:
        return (self[place] for place in range(len(self)))


class ClassifyOptions(TypedDict, total=False):
    """The optional fields of a ClassifyRequest."""

    model: str
    truncation: Truncation | None
    allow_partial: bool


def classify(
    pairs: Iterable[Pair],
    chunk: int,
    **options: Unpack[ClassifyOptions],
) -> Work[Classifications]:
    """Create the work to classify a list, in requests of at most `chunk` pairs."""
    listed, failures = _messages(pairs, **options)
    cut = chunks(listed, chunk, classification_pb2.ClassifyPair.ByteSize)
    parts = [_part(part, start, **options) for start, part in cut]
    return Work(parts, CLASSIFY, read, join, STREAM_CLASSIFY, failures)


def stream(
    batches: Iterable[Iterable[Pair]] | AsyncIterable[Iterable[Pair]],
    **options: Unpack[ClassifyOptions],
) -> Batches[Classifications]:
    """Create a stream of batches, with one request for each."""

    def part(pairs: Iterable[Pair]) -> Part:
        listed, failures = _messages(pairs, **options)
        return _part(listed, 0, failures, **options)

    return Batches(batch_source(batches), part, STREAM_CLASSIFY, CLASSIFY, read)


def read(
    _: classification_pb2.ClassifyRequest,
    response: classification_pb2.ClassifyResponse,
) -> Classifications:
    """Read the labels of a response."""
    found = {
        place: result.classification
        for place, result in enumerate(response.results)
        if result.HasField("classification")
    }
    count = len(response.results)
    first = next(iter(found.values()), classification_pb2.Classification())
    scores = {
        place: np.array([score.score for score in one.scores], np.float32)
        for place, one in found.items()
    }
    logits = {place: np.array(one.logits, np.float32) for place, one in found.items()}
    return Classifications(
        classes=tuple(score.label for score in first.scores),
        labels=tuple(found[place].label if place in found else "" for place in range(count)),
        scores=filled(scores, count),
        logits=filled(logits, count),
        **item_results(response),
    )


def join(parts: Sequence[Classifications]) -> Classifications:
    """Join the results of the parts of a list, in their order."""
    return Classifications(
        classes=max((part.classes for part in parts), key=len),
        labels=tuple(label for part in parts for label in part.labels),
        scores=stacked(part.scores for part in parts),
        logits=stacked(part.logits for part in parts),
        **joined(parts, "pairs"),
    )


def _part(
    pairs: Sequence[classification_pb2.ClassifyPair],
    start: int,
    failures: Failures | None = None,
    *,
    model: str = "",
    truncation: Truncation | None = None,
    allow_partial: bool = False,
) -> Part:
    """Create the request for pairs from index `start` of the caller's list."""
    request = classification_pb2.ClassifyRequest(
        model=model,
        pairs=pairs,
        truncation=TRUNCATION.number(truncation),
        allow_partial=allow_partial,
    )
    return Part(
        request, len(pairs), {"pairs": start}, failures or {}, _gap if allow_partial else None
    )


def _gap(error: InvalidRequest) -> Classifications:
    """Create the result of one pair that was too large to send."""
    nothing = np.full((1, 0), np.nan, np.float32)
    return Classifications(
        classes=(), labels=("",), scores=nothing, logits=nothing, **failed_item(error)
    )


def _messages(
    pairs: Iterable[Pair], **options: Unpack[ClassifyOptions]
) -> tuple[list[classification_pb2.ClassifyPair], Failures]:
    """Convert pairs and single texts to messages.

    Raises:
        TypeError, InvalidRequest: as `as_pairs`.
    """
    partial = options.get("allow_partial", False)
    listed, failures = as_pairs(pairs, CLASSIFY_NAMES, single=True, allow_partial=partial)
    names = CLASSIFY_NAMES[0]
    made = [
        classification_pb2.ClassifyPair(**dict(zip(names, sides, strict=False))) for sides in listed
    ]
    return made, failures
