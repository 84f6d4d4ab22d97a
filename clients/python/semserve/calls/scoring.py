"""ScoreService: its requests, and the result `PairScores`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate
from operator import add
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import DTypeLike, NDArray

from semserve.calls.retrieval import Ranking, found_hits, joined_rankings
from semserve.connection.reply import Reply
from semserve.errors import InvalidRequest, SemserveError, from_status, with_offset
from semserve.requests.inputs import SCORE_NAMES, as_pairs, as_texts, as_top_k, check_text
from semserve.requests.values import TRUNCATION, Truncation, Usage, chunks, text_bytes, usage
from semserve.requests.work import Method, Part, Work
from semserve.v1 import score_pb2

# Two texts, or one for a model of single texts. A mapping is read by its names: left and right,
# query and document, premise and hypothesis, text and text_pair, or sentence1 and sentence2.
ScoreItem = tuple[str, str] | Sequence[str] | Mapping[str, str] | str
SCORE = Method(
    "/semserve.v1.ScoreService/Score",
    score_pb2.ScoreRequest,
    score_pb2.ScoreResponse,
)
RERANK = Method(
    "/semserve.v1.ScoreService/Rerank",
    score_pb2.RerankRequest,
    score_pb2.RerankResponse,
)


@dataclass(frozen=True, slots=True, eq=False)
class PairScores(Reply):
    """One score for each pair or text, in their order. `numpy.asarray` returns `scores`.

    Attributes:
        model: name of the model.
        scores: float32 (items,); NaN for an item that failed.
        usage: cost of the call.
        truncated_tokens: tokens that truncation dropped from all items.
        errors: errors of items by index; empty without `allow_partial`.
    """

    model: str
    scores: NDArray[np.float32]
    usage: Usage
    truncated_tokens: int
    errors: Mapping[int, SemserveError]

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, place: Any) -> Any:
        return self.scores[place]

    def __array__(
        self, dtype: DTypeLike | None = None, *, copy: bool | None = None
    ) -> NDArray[Any]:
        return np.array(self.scores, dtype=dtype, copy=copy)


class ScoreOptions(TypedDict, total=False):
    """The optional fields of a ScoreRequest."""

    model: str
    truncation: Truncation | None
    allow_partial: bool


def score(
    items: Iterable[ScoreItem], chunk: int, **options: Unpack[ScoreOptions]
) -> Work[PairScores]:
    """Create the work to score a list of pairs or texts, in requests of at most `chunk`.

    Raises:
        TypeError: the list mixes pairs and single texts, or contains something else.
        InvalidRequest: a text is not valid Unicode, without `allow_partial`.
    """
    partial = options.get("allow_partial", False)
    listed, failures = as_pairs(items, SCORE_NAMES, single=True, allow_partial=partial)
    if len({len(one) for one in listed}) > 1:
        raise TypeError("pairs must be all of two texts, or all single texts")
    if listed and len(listed[0]) == 1:
        parts = _parts([text for (text,) in listed], "texts", text_bytes, chunk, **options)
    else:
        pairs = [score_pb2.ScorePair(left=left, right=right) for left, right in listed]
        parts = _parts(pairs, "pairs", score_pb2.ScorePair.ByteSize, chunk, **options)
    field = next(iter(parts[0].offsets))
    return Work(parts, SCORE, read, lambda results: _join(results, field), failures=failures)


def rerank(
    query: str,
    documents: Iterable[str],
    model: str,
    truncation: Truncation | None,
    top_k: int | None,
    chunk: int,
) -> Work[Ranking]:
    """Create the work to sort documents, in requests of at most `chunk` documents.

    The server limits the characters of all pairs, and every pair contains the query.
    """
    check_text(query, "query")
    top_k = as_top_k(top_k)
    every = text_bytes(query)
    cut = chunks(as_texts(documents, "documents"), chunk, lambda text: every + text_bytes(text))
    parts = [
        Part(
            score_pb2.RerankRequest(
                model=model,
                query=query,
                documents=part,
                top_k=top_k,
                truncation=TRUNCATION.number(truncation),
            ),
            len(part),
            {"documents": start},
        )
        for start, part in cut
    ]

    def read_ranking(
        request: score_pb2.RerankRequest, response: score_pb2.RerankResponse
    ) -> Ranking:
        return Ranking(
            response.model,
            found_hits(response.hits, request.documents),
            usage(response.usage),
            response.truncated_tokens,
        )

    return Work(parts, RERANK, read_ranking, lambda found: joined_rankings(cut, found, top_k))


def read(_: score_pb2.ScoreRequest, response: score_pb2.ScoreResponse) -> PairScores:
    """Read the scores of a response."""
    return PairScores(
        response.model,
        np.array(response.scores, np.float32),
        usage(response.usage),
        response.truncated_tokens,
        {error.index: from_status(error.error) for error in response.errors},
    )


def _join(parts: Sequence[PairScores], field: str) -> PairScores:
    """Join the results of the parts of a list, in their order."""
    starts = accumulate((len(part) for part in parts), initial=0)
    return PairScores(
        next((part.model for part in parts if part.model), ""),
        np.concatenate([part.scores for part in parts]),
        reduce(add, (part.usage for part in parts)),
        sum(part.truncated_tokens for part in parts),
        {
            start + place: with_offset(error, field, start)
            for start, part in zip(starts, parts, strict=False)
            for place, error in part.errors.items()
        },
    )


def _parts(
    items: Sequence[Any], field: str, weigh: Any, chunk: int, **options: Unpack[ScoreOptions]
) -> list[Part]:
    """Create the requests for validated pairs or texts."""
    partial = options.get("allow_partial", False)
    return [
        Part(
            score_pb2.ScoreRequest(
                model=options.get("model", ""),
                truncation=TRUNCATION.number(options.get("truncation")),
                allow_partial=partial,
                **{field: part},
            ),
            len(part),
            {field: start},
            gap=_gap if partial else None,
        )
        for start, part in chunks(items, chunk, weigh)
    ]


def _gap(error: InvalidRequest) -> PairScores:
    """Create the result of one pair or text that was too large to send."""
    return PairScores("", np.full(1, np.nan, np.float32), Usage(), 0, {0: error})
