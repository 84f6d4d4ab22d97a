"""`rank` and `search` of SimilarityService, and their results.

A corpus longer than one request is split into parts. The best hits of each part contain the best
hits of the whole, so merging them is exact and needs no vectors in the client.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import TypedDict, Unpack

from semserve.connection.reply import Reply
from semserve.requests.inputs import as_texts, as_top_k, check_text
from semserve.requests.values import (
    MAX_REQUEST_BYTES,
    METRIC,
    Chunk,
    Metric,
    Usage,
    chunks,
    text_bytes,
    usage,
)
from semserve.requests.work import Method, Part, Work
from semserve.v1 import similarity_pb2

RANK = Method(
    "/semserve.v1.SimilarityService/Rank",
    similarity_pb2.RankRequest,
    similarity_pb2.RankResponse,
)
SEARCH = Method(
    "/semserve.v1.SimilarityService/Search",
    similarity_pb2.SearchRequest,
    similarity_pb2.SearchResponse,
)
# Hits of a search if the request does not set top_k.
DEFAULT_TOP_K = 10


@dataclass(frozen=True, slots=True)
class Hit:
    """One text that was found.

    Attributes:
        index: its index in the list that was searched.
        score: its score; higher is more similar.
        text: the text.
    """

    index: int
    score: float
    text: str


@dataclass(frozen=True, slots=True)
class Ranking(Reply):
    """The result of `rank`, best first.

    Attributes:
        model: name of the model.
        hits: the documents, best first; equal scores in the order of the documents.
        usage: cost of the call.
        truncated_tokens: tokens that truncation dropped, counted once for each unique text of a
            request.
    """

    model: str
    hits: tuple[Hit, ...]
    usage: Usage
    truncated_tokens: int = 0

    def __len__(self) -> int:
        return len(self.hits)

    def __getitem__(self, place: int) -> Hit:
        return self.hits[place]

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)


@dataclass(frozen=True, slots=True)
class SearchResults(Reply):
    """The result of `search` for each query.

    Attributes:
        model: name of the model.
        results: a tuple of hits for each query, best first, in the order of the queries.
        usage: cost of the call.
        truncated_tokens: tokens that truncation dropped, counted once for each unique text of a
            request.
    """

    model: str
    results: tuple[tuple[Hit, ...], ...]
    usage: Usage
    truncated_tokens: int = 0

    def __len__(self) -> int:
        return len(self.results)

    def __getitem__(self, place: int) -> tuple[Hit, ...]:
        return self.results[place]

    def __iter__(self) -> Iterator[tuple[Hit, ...]]:
        return iter(self.results)


class QueryPrompts(TypedDict, total=False):
    """The prompts of queries and documents; by default the model's default prompt.

    Attributes:
        prompt_name: prompt of all texts; empty for none.
        document_prompt_name: prompt of the documents or the corpus, if it differs.
    """

    prompt_name: str | None
    document_prompt_name: str | None


def rank(
    query: str,
    documents: Iterable[str],
    model: str,
    metric: Metric | None,
    top_k: int | None,
    chunk: int,
    **prompts: Unpack[QueryPrompts],
) -> Work[Ranking]:
    """Create the work to rank documents, in requests of at most `chunk` texts."""
    check_text(query, "query")
    top_k = as_top_k(top_k)
    cut = chunks(as_texts(documents, "documents"), max(chunk - 1, 1), text_bytes)
    parts = [
        Part(
            similarity_pb2.RankRequest(
                model=model,
                query=query,
                documents=part,
                top_k=top_k,
                metric=METRIC.number(metric),
                **prompts,
            ),
            len(part),
            {"documents": start},
        )
        for start, part in cut
    ]

    def read(
        request: similarity_pb2.RankRequest,
        response: similarity_pb2.RankResponse,
    ) -> Ranking:
        return Ranking(
            response.model,
            found_hits(response.hits, request.documents),
            usage(response.usage),
            response.truncated_tokens,
        )

    return Work(parts, RANK, read, lambda rankings: joined_rankings(cut, rankings, top_k))


def joined_rankings(
    parts: Sequence[Chunk[str]], rankings: Sequence[Ranking], top_k: int | None
) -> Ranking:
    """Join the rankings of the parts of a list of documents."""
    hits = _best(zip(parts, (ranking.hits for ranking in rankings), strict=True), top_k)
    return Ranking(
        rankings[0].model,
        hits,
        reduce(add, (one.usage for one in rankings)),
        sum(one.truncated_tokens for one in rankings),
    )


def search(
    queries: Iterable[str],
    corpus: Iterable[str],
    model: str,
    metric: Metric | None,
    top_k: int | None,
    chunk: int,
    **prompts: Unpack[QueryPrompts],
) -> Work[SearchResults]:
    """Create the work to search a corpus, in requests of at most `chunk` texts.

    A request contains queries and corpus texts. Queries take at most a quarter of it, so that a
    long corpus is embedded only once for many queries.
    """
    top_k = as_top_k(top_k)
    most_bytes = MAX_REQUEST_BYTES // 4
    query_chunks = chunks(as_texts(queries, "queries"), max(chunk // 4, 1), text_bytes, most_bytes)
    room = max(chunk - len(query_chunks[0].items), 1)
    most_bytes = MAX_REQUEST_BYTES - most_bytes
    corpus_chunks = chunks(as_texts(corpus, "corpus"), room, text_bytes, most_bytes)
    parts = [
        Part(
            similarity_pb2.SearchRequest(
                model=model,
                queries=query_chunk.items,
                corpus=corpus_chunk.items,
                top_k=top_k,
                metric=METRIC.number(metric),
                **prompts,
            ),
            len(corpus_chunk.items),
            {"queries": query_chunk.start, "corpus": corpus_chunk.start},
        )
        for query_chunk in query_chunks
        for corpus_chunk in corpus_chunks
    ]

    def read(
        request: similarity_pb2.SearchRequest,
        response: similarity_pb2.SearchResponse,
    ) -> SearchResults:
        results = tuple(found_hits(result.hits, request.corpus) for result in response.results)
        cost = usage(response.usage)
        return SearchResults(response.model, results, cost, response.truncated_tokens)

    def join(found: Sequence[SearchResults]) -> SearchResults:
        # For each group of queries: the hits of each query from every part of the corpus.
        per_queries = range(0, len(found), len(corpus_chunks))
        results = tuple(
            _best(zip(corpus_chunks, hits, strict=True), top_k or DEFAULT_TOP_K)
            for start in per_queries
            for hits in zip(*found[start : start + len(corpus_chunks)], strict=True)
        )
        return SearchResults(
            found[0].model,
            results,
            reduce(add, (one.usage for one in found)),
            sum(one.truncated_tokens for one in found),
        )

    return Work(parts, SEARCH, read, join)


def found_hits(hits: Iterable[similarity_pb2.Hit], texts: Sequence[str]) -> tuple[Hit, ...]:
    """Read the hits of a response, with their texts."""
    return tuple(Hit(hit.index, hit.score, texts[hit.index]) for hit in hits)


def _best(
    parts: Iterable[tuple[Chunk[str], Sequence[Hit]]],
    top_k: int | None,
) -> tuple[Hit, ...]:
    """Merge the hits of the parts of a list; equal scores in list order."""
    hits = (replace(hit, index=chunk.start + hit.index) for chunk, part in parts for hit in part)
    return tuple(sorted(hits, key=lambda hit: (-hit.score, hit.index))[:top_k])
