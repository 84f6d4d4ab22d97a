"""`embed_sparse` of EmbeddingService, and its result."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from semserve.errors import InvalidRequest
from semserve.requests.inputs import as_top_k, partial_texts
from semserve.requests.item_results import ItemResults, failed_item, item_results, joined
from semserve.requests.values import TRUNCATION, Truncation, chunks, text_bytes
from semserve.requests.work import Method, Part, Work
from semserve.v1 import embedding_pb2

EMBED_SPARSE = Method(
    "/semserve.v1.EmbeddingService/EmbedSparse",
    embedding_pb2.EmbedSparseRequest,
    embedding_pb2.EmbedSparseResponse,
)


@dataclass(frozen=True, slots=True, eq=False)
class SparseVector:
    """The weights of one text.

    Attributes:
        indices: uint32 (weights,), token ids of the vocabulary, ascending.
        values: float32 (weights,), the weight of each, above 0.
        tokens: the tokens as written in the vocabulary, if they were requested.
    """

    indices: NDArray[np.uint32]
    values: NDArray[np.float32]
    tokens: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.indices)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SparseEmbeddings(ItemResults):
    """The sparse vectors of texts, in the order of the texts. Iterate to get one at a time.

    Attributes:
        vectors: one for each text; empty for a text that failed.
    """

    vectors: tuple[SparseVector, ...]

    def __getitem__(self, place: int) -> SparseVector:
        """Return the vector of one text, or raise the text's error."""
        place = range(len(self))[place]
        if place in self.errors:
            raise self.errors[place]
        return self.vectors[place]

    def __iter__(self) -> Iterator[SparseVector]:
        return (self[place] for place in range(len(self)))


class EmbedSparseOptions(TypedDict, total=False):
    """The optional fields of an EmbedSparseRequest."""

    model: str
    top_k: int | None
    truncation: Truncation | None
    allow_partial: bool
    prompt_name: str | None
    include_tokens: bool


def embed_sparse(
    texts: Iterable[str], chunk: int, **options: Unpack[EmbedSparseOptions]
) -> Work[SparseEmbeddings]:
    """Create the work to embed a list, in requests of at most `chunk` texts."""
    partial = options.get("allow_partial", False)
    listed, failures = partial_texts(texts, "texts", allow_partial=partial)
    parts = [_part(part, start, **options) for start, part in chunks(listed, chunk, text_bytes)]
    return Work(parts, EMBED_SPARSE, read, join, failures=failures)


def read(
    _: embedding_pb2.EmbedSparseRequest, response: embedding_pb2.EmbedSparseResponse
) -> SparseEmbeddings:
    """Read the vectors of a response."""
    vectors = tuple(
        SparseVector(
            np.array(result.indices, np.uint32),
            np.array(result.values, np.float32),
            tuple(result.tokens),
        )
        for result in response.results
    )
    return SparseEmbeddings(vectors=vectors, **item_results(response))


def join(parts: Sequence[SparseEmbeddings]) -> SparseEmbeddings:
    """Join the results of the parts of a list, in their order."""
    vectors = tuple(vector for part in parts for vector in part.vectors)
    return SparseEmbeddings(vectors=vectors, **joined(parts, "texts"))


def _part(texts: Sequence[str], start: int, **options: Unpack[EmbedSparseOptions]) -> Part:
    """Create the request for validated texts from index `start` of the caller's list."""
    partial = options.get("allow_partial", False)
    request = embedding_pb2.EmbedSparseRequest(
        model=options.get("model", ""),
        texts=texts,
        top_k=as_top_k(options.get("top_k")),
        truncation=TRUNCATION.number(options.get("truncation")),
        allow_partial=partial,
        prompt_name=options.get("prompt_name"),
        include_tokens=options.get("include_tokens", False),
    )
    return Part(request, len(texts), {"texts": start}, gap=_gap if partial else None)


def _gap(error: InvalidRequest) -> SparseEmbeddings:
    """Create the result of one text that was too large to send."""
    nothing = SparseVector(np.zeros(0, np.uint32), np.zeros(0, np.float32))
    return SparseEmbeddings(vectors=(nothing,), **failed_item(error))
