"""EmbeddingService: its requests, and the result `Embeddings`."""

from collections.abc import AsyncIterable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import DTypeLike, NDArray

from semserve.errors import InvalidRequest
from semserve.requests.inputs import Failures, batch_source, partial_texts
from semserve.requests.item_results import (
    ItemResults,
    failed_item,
    filled,
    item_results,
    joined,
    stacked,
)
from semserve.requests.values import (
    ENCODING,
    SIDE,
    TRUNCATION,
    Encoding,
    Side,
    Truncation,
    chunks,
    text_bytes,
)
from semserve.requests.work import Batches, Method, Part, Work
from semserve.v1 import embedding_pb2

EMBED = Method(
    "/semserve.v1.EmbeddingService/Embed",
    embedding_pb2.EmbedRequest,
    embedding_pb2.EmbedResponse,
)
STREAM_EMBED = Method(
    "/semserve.v1.EmbeddingService/StreamEmbed",
    embedding_pb2.StreamEmbedRequest,
    embedding_pb2.StreamEmbedResponse,
    "stream_stream",
)
# Element types of packed vectors.
_PACKED: dict[int, np.dtype[Any]] = {
    embedding_pb2.VECTOR_ENCODING_FLOAT32: np.dtype("<f4"),
    embedding_pb2.VECTOR_ENCODING_FLOAT16: np.dtype("<f2"),
    embedding_pb2.VECTOR_ENCODING_INT8: np.dtype("i1"),
}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Embeddings(ItemResults):
    """The vectors of texts, in the order of the texts. `numpy.asarray` returns `vectors`.

    Attributes:
        vectors: float32 (texts, dimensions); NaN for a text that failed.
    """

    vectors: NDArray[np.float32]

    def __getitem__(self, place: int) -> NDArray[np.float32]:
        row: NDArray[np.float32] = self.vectors[place]
        return row

    def __array__(
        self, dtype: DTypeLike | None = None, *, copy: bool | None = None
    ) -> NDArray[Any]:
        return np.array(self.vectors, dtype=dtype, copy=copy)


class EmbedOptions(TypedDict, total=False):
    """The optional fields of an EmbedRequest."""

    model: str
    normalize: bool | None
    dimensions: int | None
    truncation: Truncation | None
    encoding: Encoding | None
    allow_partial: bool
    prompt_name: str | None
    side: Side | None


def embed(texts: Iterable[str], chunk: int, **options: Unpack[EmbedOptions]) -> Work[Embeddings]:
    """Create the work to embed a list, in requests of at most `chunk` texts."""
    partial = options.get("allow_partial", False)
    listed, failures = partial_texts(texts, "texts", allow_partial=partial)
    parts = [_part(part, start, **options) for start, part in chunks(listed, chunk, text_bytes)]
    return Work(parts, EMBED, read, join, STREAM_EMBED, failures)


def stream(
    batches: Iterable[Iterable[str]] | AsyncIterable[Iterable[str]],
    **options: Unpack[EmbedOptions],
) -> Batches[Embeddings]:
    """Create a stream of batches, with one request for each."""

    def part(texts: Iterable[str]) -> Part:
        partial = options.get("allow_partial", False)
        listed, failures = partial_texts(texts, "texts", allow_partial=partial)
        return _part(listed, 0, failures, **options)

    return Batches(batch_source(batches), part, STREAM_EMBED, EMBED, read)


def read(_: embedding_pb2.EmbedRequest, response: embedding_pb2.EmbedResponse) -> Embeddings:
    """Read the vectors of a response."""
    rows = {
        place: _vector(result.embedding)
        for place, result in enumerate(response.results)
        if result.HasField("embedding")
    }
    return Embeddings(vectors=filled(rows, len(response.results)), **item_results(response))


def join(parts: Sequence[Embeddings]) -> Embeddings:
    """Join the results of the parts of a list, in their order."""
    return Embeddings(vectors=stacked(part.vectors for part in parts), **joined(parts, "texts"))


def _part(  # noqa: PLR0913 - the fields of the request
    texts: Sequence[str],
    start: int,
    failures: Failures | None = None,
    *,
    model: str = "",
    normalize: bool | None = None,
    dimensions: int | None = None,
    truncation: Truncation | None = None,
    encoding: Encoding | None = None,
    allow_partial: bool = False,
    prompt_name: str | None = None,
    side: Side | None = None,
) -> Part:
    """Create the request for validated texts from index `start` of the caller's list."""
    request = embedding_pb2.EmbedRequest(
        model=model,
        texts=texts,
        normalize=normalize,
        dimensions=dimensions,
        truncation=TRUNCATION.number(truncation),
        encoding=ENCODING.number(encoding),
        allow_partial=allow_partial,
        prompt_name=prompt_name,
        side=SIDE.number(side),
    )
    return Part(
        request, len(texts), {"texts": start}, failures or {}, _gap if allow_partial else None
    )


def _gap(error: InvalidRequest) -> Embeddings:
    """Create the result of one text that was too large to send."""
    return Embeddings(vectors=np.full((1, 0), np.nan, np.float32), **failed_item(error))


def _vector(embedding: embedding_pb2.Embedding) -> NDArray[np.float32]:
    """Decode one vector of any encoding: float32 (dimensions,)."""
    if not embedding.packed:
        return np.array(embedding.values, dtype=np.float32)
    kind = _PACKED[embedding.encoding]
    row: NDArray[np.float32] = np.frombuffer(embedding.packed, dtype=kind).astype(np.float32)
    if embedding.HasField("scale"):
        row *= np.float32(embedding.scale)
    return row
