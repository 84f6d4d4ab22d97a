"""`compare` and `matrix` of SimilarityService, and their result `Scores`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import DTypeLike, NDArray

from semserve.connection.reply import Reply
from semserve.requests.inputs import COMPARE_NAMES, as_pairs, as_texts
from semserve.requests.values import METRIC, Metric, Usage, chunks, usage
from semserve.requests.work import Method, Part, Work, single
from semserve.v1 import similarity_pb2

# Two texts. A mapping is read by its names: left and right, or sentence1 and sentence2.
ComparePair = tuple[str, str] | Sequence[str] | Mapping[str, str]
COMPARE = Method(
    "/semserve.v1.SimilarityService/Compare",
    similarity_pb2.CompareRequest,
    similarity_pb2.CompareResponse,
)
MATRIX = Method(
    "/semserve.v1.SimilarityService/Matrix",
    similarity_pb2.MatrixRequest,
    similarity_pb2.MatrixResponse,
)


@dataclass(frozen=True, slots=True, eq=False)
class Scores(Reply):
    """Similarity scores. `numpy.asarray` returns `scores`.

    Attributes:
        model: name of the model.
        scores: float32, (pairs,) from `compare` and (left, right) from `matrix`.
        usage: cost of the call.
        truncated_tokens: tokens that truncation dropped, counted once for each unique text of a
            request.
    """

    model: str
    scores: NDArray[np.float32]
    usage: Usage
    truncated_tokens: int = 0

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, place: Any) -> Any:
        return self.scores[place]

    def __array__(
        self, dtype: DTypeLike | None = None, *, copy: bool | None = None
    ) -> NDArray[Any]:
        return np.array(self.scores, dtype=dtype, copy=copy)


class PairPrompts(TypedDict, total=False):
    """The prompts of left and right texts; by default the model's default prompt.

    Attributes:
        prompt_name: prompt of all texts; empty for none.
        right_prompt_name: prompt of the right texts, if it differs.
    """

    prompt_name: str | None
    right_prompt_name: str | None


def compare(
    pairs: Iterable[ComparePair],
    model: str,
    metric: Metric | None,
    chunk: int,
    **prompts: Unpack[PairPrompts],
) -> Work[Scores]:
    """Create the work to compare pairs. A pair counts as two of the `chunk` texts of a request."""
    names = COMPARE_NAMES[0]
    listed = [
        similarity_pb2.ComparePair(**dict(zip(names, sides, strict=True)))
        for sides in as_pairs(pairs, COMPARE_NAMES, single=False).pairs
    ]
    size = max(chunk // 2, 1)
    parts = [
        Part(
            similarity_pb2.CompareRequest(
                model=model, pairs=part, metric=METRIC.number(metric), **prompts
            ),
            len(part),
            {"pairs": start},
        )
        for start, part in chunks(listed, size, similarity_pb2.ComparePair.ByteSize)
    ]

    def read(_: Any, response: similarity_pb2.CompareResponse) -> Scores:
        scores = np.array(response.scores, np.float32)
        return Scores(response.model, scores, usage(response.usage), response.truncated_tokens)

    return Work(parts, COMPARE, read, _join)


def matrix(
    left: Iterable[str],
    right: Iterable[str] | None,
    model: str,
    metric: Metric | None,
    **prompts: Unpack[PairPrompts],
) -> Work[Scores]:
    """Create the work to compare every left text with every right text, in one request."""
    request = similarity_pb2.MatrixRequest(
        model=model,
        left=as_texts(left, "left"),
        right=None if right is None else as_texts(right, "right"),
        metric=METRIC.number(metric),
        **prompts,
    )

    def read(_: Any, response: similarity_pb2.MatrixResponse) -> Scores:
        scores = np.array([np.array(row.scores, np.float32) for row in response.rows], np.float32)
        return Scores(response.model, scores, usage(response.usage), response.truncated_tokens)

    return single(MATRIX, request, read)


def _join(parts: Sequence[Scores]) -> Scores:
    return Scores(
        parts[0].model,
        np.concatenate([part.scores for part in parts]),
        reduce(add, (part.usage for part in parts)),
        sum(part.truncated_tokens for part in parts),
    )
